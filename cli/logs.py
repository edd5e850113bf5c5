"""How much is told on stderr: `-v`, `-q` and VITRIFY_LOG set the level of the logger `vitrify`."""

import logging
import os
import sys

from ..runtime.errors import UsageError

VARIABLE = "VITRIFY_LOG"
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}
_BY_COUNT = ("info", "debug")
_LOG = logging.getLogger("vitrify")


class _OnStderr(logging.StreamHandler):
    """Writes to what stderr is now."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def set_level(*, verbose: int = 0, quiet: bool = False) -> None:
    """Set the level; options win over the variable. Raises UsageError for both options, or a level that is none."""
    if verbose and quiet:
        raise UsageError("--verbose and --quiet exclude each other: keep one")
    name = "error" if quiet else _BY_COUNT[min(verbose, 2) - 1] if verbose else os.environ.get(VARIABLE) or "warning"
    if name.lower() not in LEVELS:
        raise UsageError(f"{VARIABLE}: got '{name}', expected one of {', '.join(LEVELS)}")
    _LOG.setLevel(LEVELS[name.lower()])
    if not any(isinstance(handler, _OnStderr) for handler in _LOG.handlers):
        _LOG.addHandler(_OnStderr())


def is_quiet() -> bool:
    """Tell whether warnings, and so progress, are not wanted."""
    return _LOG.getEffectiveLevel() > logging.WARNING
