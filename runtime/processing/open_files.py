"""Open files as inputs: which objects are files, of bytes or of text, and what one contains; it decodes nothing."""

from collections.abc import Mapping
from typing import Any

from ..errors import UsageError


def is_file(value: Any) -> bool:
    """Tell whether an object is an open file, a stream in memory or over the network included."""
    return callable(getattr(value, "read", None)) and not isinstance(value, type | Mapping)


def is_binary_file(value: Any) -> bool:
    """Tell whether an object is an open file of bytes."""
    return is_file(value) and not _is_text(value)


def content_of(file: Any, *, kind: str) -> bytes:
    """Return the rest of a binary file; raise UsageError, saying what `kind` was expected, where that fails."""
    if _is_text(file):
        raise UsageError(f"{kind} cannot be read from a file opened as text: open it with mode 'rb'")
    try:
        content = file.read()
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{kind} cannot be read from a {type(file).__name__}: {error}") from error
    if not isinstance(content, bytes):
        raise UsageError(f"{kind} cannot be read from a {type(file).__name__}: it contains {type(content).__name__}")
    return content


def _is_text(file: Any) -> bool:
    try:
        return isinstance(file.read(0), str)  # wrappers of text files have no class in common
    except (OSError, ValueError, TypeError):
        return False
