"""stdout and stderr of the command line: there, able to take any text, and with a word where they cannot be written."""

import io
import os
import sys
from pathlib import Path
from typing import Any

from ..runtime.errors import EnvironmentMissing


class Noting(io.FileIO):
    """A file that keeps the first error of its writes: nobody could else tell whose error it is."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write as a file does."""
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


def repair_streams() -> None:
    """Have streams to write to where the caller closed them, and write what they cannot encode as escapes."""
    was_there = sys.stdout is not None
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open to the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if was_there and isinstance(stream := sys.stdout, io.TextIOWrapper):
        own: Any = stream.buffer
        if isinstance(getattr(own, "raw", own), io.FileIO):
            sys.stdout = _noting(stream, buffered=hasattr(own, "raw"))


def _noting(stream: io.TextIOWrapper, *, buffered: bool) -> io.TextIOWrapper:
    raw: Any = Noting(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else raw,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def has_failed() -> bool:
    """Tell whether something could not be written to stdout."""
    return _failure() is not None


def flushed(code: int) -> int:
    """Return the exit code of a command that has printed everything: another one where that failed."""
    error = _failure()
    try:
        sys.stdout.flush()
    except OSError as last:
        error = error or last
    if error is None:
        return code
    _silence(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return code  # its reader has gone away (`| head`)
    tell(f"stdout cannot be written ({error.strerror}): free some space, or write elsewhere")
    return EnvironmentMissing.exit_code


def tell(line: str) -> None:
    """Say a line on stderr, if it can be written."""
    try:
        print(f"vitrify: {line}", file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: Any) -> None:
    """Let the rest of a stream vanish: Python would complain at its own end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failure() -> OSError | None:
    buffer = getattr(sys.stdout, "buffer", None)
    return getattr(getattr(buffer, "raw", buffer), "failure", None)
