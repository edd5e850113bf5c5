"""Numbers as a careful engineer writes them: three significant digits, and the unit beside them."""

import math
from collections.abc import Mapping

NOTHING = "–"  # noqa: RUF001 - what a cell without a figure shows
_SPACE = "\u00a0"


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with as many significant digits, never in powers of ten."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))  # 9.996 has become 10.0
    return f"{rounded:.{max(0, decimals)}f}"


def plain(value: float) -> str:
    """Return a round number, as beside an axis, without needless zeros."""
    return f"{value:.10f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:.0g}"


def duration(milliseconds: float | None) -> str:
    """Return a time with the unit that suits it."""
    if milliseconds is None or not math.isfinite(milliseconds):
        return NOTHING
    for limit, unit, scale in ((1.0, "µs", 1000.0), (10_000.0, "ms", 1.0)):
        if abs(milliseconds) < limit:
            return f"{significant(milliseconds * scale)}{_SPACE}{unit}"
    return f"{significant(milliseconds / 1000)}{_SPACE}s"


def measure(value: float | None, unit: str) -> str:
    """Return a figure with its unit, or nothing."""
    found = significant(value)
    return found if found == NOTHING else f"{found}{_SPACE}{unit}"


def share(value: float | None) -> str:
    """Return a part of one in percent."""
    found = significant(None if value is None else 100 * value)
    return found if found == NOTHING else f"{found}{_SPACE}%"


def times(value: float) -> str:
    """Return a ratio."""
    return f"{significant(value)}x"


def quartiles(found: Mapping[str, float]) -> str:
    """Return the quartiles of a ratio, in brackets."""
    return f"[{significant(found['q1'])}-{significant(found['q3'])}]"
