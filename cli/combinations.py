"""Options that mean something only beside others, and those that exclude each other: told before any work."""

from ..runtime.errors import UsageError


def only_with(option: str, other: str, *, given: object, met: object) -> None:
    """Raise UsageError where an option is `given` and the `other` one, without which it does nothing, is not met."""
    if given and not met:
        raise UsageError(f"{option} has no effect without {other}: add that, or leave {option} out")


def not_with(option: str, other: str, *, given: object, met: object) -> None:
    """Raise UsageError where an option is `given` beside the `other` one, which makes it mean nothing."""
    if given and met:
        raise UsageError(f"{option} has no effect with {other}: leave one of them out")
