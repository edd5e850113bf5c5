"""Every error that vitrify raises on purpose; each knows the exit code that the command line gives it.

    VitrifyError                 1  our bug, unless a subclass says otherwise
    ├── UsageError (ValueError)  2  an invalid argument or input
    ├── ExportError              3  a checkpoint that cannot be exported
    ├── ParityError              4  a graph whose outputs differ from the checkpoint's
    ├── PerformanceError         5  a model that is slower, or larger, than allowed
    ├── UnsupportedError         6  a feature that vitrify does not support, named
    ├── IntegrityError           7  a file that does not match its digest or its format
    └── EnvironmentMissing       8  a dependency, a device, a permission or disk space that is missing
        └── DependencyMissing (ImportError)

A message says what, got, allowed, and what to do, in one line.
"""


def install_hint(extra: str) -> str:
    """Return how an extra of vitrify is installed, from an index or in a checkout."""
    return f"pip install 'vitrify[{extra}]' (from a checkout: pip install '.[{extra}]')"


def _printed(char: str) -> str:
    return char if char.isprintable() else ascii(char)[1:-1]


class VitrifyError(Exception):
    """Base of all errors that vitrify raises on purpose; what a file says in a message breaks no line of it."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__("".join(map(_printed, message)))


class UsageError(VitrifyError, ValueError):
    """An invalid argument or input."""

    exit_code = 2


class ExportError(VitrifyError):
    """A checkpoint that cannot be exported to a graph."""

    exit_code = 3


class ParityError(VitrifyError):
    """A graph whose outputs differ from the checkpoint's by more than the tolerance."""

    exit_code = 4


class PerformanceError(VitrifyError):
    """A model that is slower, or uses more memory, than the conditions of a performance gate allow."""

    exit_code = 5


class UnsupportedError(VitrifyError):
    """A feature that vitrify does not support; the message names it."""

    exit_code = 6


class IntegrityError(VitrifyError):
    """A file that does not match its digest or its format."""

    exit_code = 7


class EnvironmentMissing(VitrifyError):  # noqa: N818 - reads as what it is
    """A dependency, a device, a permission or disk space that is missing on this machine."""

    exit_code = 8


class DependencyMissing(EnvironmentMissing, ImportError):  # noqa: N818
    """A package that is not installed; the message names the extra that installs it."""
