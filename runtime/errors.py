"""Every error that vitrify raises on purpose; each knows the exit code that the command line gives it.

    VitrifyError                 1  our bug, unless a subclass says otherwise
    ├── UsageError (ValueError)  2  an argument or an input that cannot be right
    ├── ExportError              3  a checkpoint that did not become a graph
    ├── ParityError              4  a graph that is not the same model as the checkpoint
    ├── PerformanceError         5  a model that is slower, or larger, than it may be
    ├── UnsupportedError         6  something that vitrify does not do, said by name
    ├── IntegrityError           7  a file that is not what its digest or its format says
    └── EnvironmentMissing       8  a dependency, a device, a permission or disk space that is missing
        └── DependencyMissing (ImportError)

A message says what, got, allowed, and what to do, in one line.
"""


class VitrifyError(Exception):
    """Base of all errors that vitrify raises on purpose."""

    exit_code = 1


class UsageError(VitrifyError, ValueError):
    """An argument or an input that cannot be right."""

    exit_code = 2


class ExportError(VitrifyError):
    """A checkpoint that did not become a graph."""

    exit_code = 3


class ParityError(VitrifyError):
    """A graph whose outputs differ from the checkpoint's by more than the tolerance."""

    exit_code = 4


class PerformanceError(VitrifyError):
    """A model that is slower, or takes more memory, than the conditions of a performance gate allow."""

    exit_code = 5


class UnsupportedError(VitrifyError):
    """Something that vitrify does not do, said by name."""

    exit_code = 6


class IntegrityError(VitrifyError):
    """A file that is not what its digest or its format says."""

    exit_code = 7


class EnvironmentMissing(VitrifyError):  # noqa: N818 - reads as what it is
    """A dependency, a device, a permission or disk space that is missing on this machine."""

    exit_code = 8


class DependencyMissing(EnvironmentMissing, ImportError):  # noqa: N818
    """A package that is not installed; the message names the extra that installs it."""
