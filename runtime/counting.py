"""Counts in words."""


def counted(count: int, noun: str) -> str:
    """Return "1 case" or "3 cases"."""
    return f"{count} {noun}{'s' * (count != 1)}"
