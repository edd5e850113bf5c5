"""From values to coordinates, linear or logarithmic, with round ticks; it draws nothing."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Beyond this ratio of the largest value to the smallest, a linear scale hides the small ones.
_WIDE = 5.0


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` become coordinates from `start` to `end`; values outside stay at the ends."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        part = (self._bent(value) - self._bent(self.low)) / (self._bent(self.high) - self._bent(self.low))
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most about `most` round values in the range."""
        return _log_ticks(self.low, self.high, most) if self.is_log else _linear_ticks(self.low, self.high, most)

    def _bent(self, value: float) -> float:
        return math.log(max(value, self.low * 1e-3)) if self.is_log else value


def scale_of(
    values: Iterable[float], start: float, end: float, *, zero: bool = False, is_log: bool | None = None
) -> Scale:
    """Return the scale that has all values and a little room: logarithmic where they span much, unless told.

    With `zero` a linear scale begins there, as bars must.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    if is_log is None:
        is_log = low > 0 and high / low > _WIDE and not zero
    if is_log and low > 0:
        room = max(1.03, (high / low) ** 0.04)
        return Scale(low / room, high * room, start, end, is_log=True)
    room = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(0.0 if zero or (low >= 0 and low - room < 0) else low - room, high + room, start, end)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return the finest of a few families of round values that is not too many."""
    families: Sequence[tuple[float, ...]] = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for family in families:
        values = (round(factor * 10.0**power, 12) for power in powers for factor in family)
        found = [value for value in values if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)]
        if len(found) <= most:
            break
    found = found[:: max(1, -(-len(found) // most))]
    return found if len(found) > 1 else _linear_ticks(low, high, most - 1)
