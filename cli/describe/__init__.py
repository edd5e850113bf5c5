"""What `vitrify info`, `profiles` and `doctor` print: each a JSON document, and the same as lines of text."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

Description = tuple[dict[str, Any], Sequence[str | Table]]


def size_text(count: int) -> str:
    """Return a number of bytes as people read it, in powers of 1000."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
