"""Amounts as people read them: counts with their noun, numbers of bytes."""


def counted(count: int, noun: str) -> str:
    """Return "1 case" or "3 cases"."""
    return f"{count} {noun}{'s' * (count != 1)}"


def size_text(count: int) -> str:
    """Return a number of bytes as people read it, in powers of 1000."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
