"""A child process from its start to its end: what it is given and may take, how it ended, and which error that is.

Standard library only; it knows no command. A child of ours exits with its error's code and says the sentence last.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .errors import (
    EnvironmentMissing,
    ExportError,
    IntegrityError,
    ParityError,
    PerformanceError,
    UnsupportedError,
    UsageError,
    VitrifyError,
)

_ERRORS = (
    *(UsageError, ExportError, ParityError, PerformanceError),
    *(UnsupportedError, IntegrityError, EnvironmentMissing),
)
_BY_CODE: dict[int, type[VitrifyError]] = {error.exit_code: error for error in _ERRORS}
_PREFIX = "vitrify: "  # of the command line's errors
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Limits:
    """What a child may take: seconds, and bytes of resident memory (enforced on Linux); None sets no limit."""

    seconds: float | None = None
    memory_bytes: int | None = None


class LimitExceeded(Exception):  # noqa: N818 - reads as what it is
    """A child that was stopped because it took more than its limits: `what` is "time" or "memory", in bytes `used`."""

    def __init__(self, what: str, used: int = 0) -> None:
        super().__init__(what)
        self.what, self.used = what, used


class Ended(NamedTuple):
    """How a child ended: its exit code, negative for a signal, and what it said."""

    code: int
    said: str

    @property
    def signal_name(self) -> str:
        """The signal that ended it, such as "SIGKILL"; "" if none did, or one without a name."""
        with suppress(ValueError):
            return signal.Signals(-self.code).name
        return ""

    @property
    def reason(self) -> str:
        """The last line that it said; if it said nothing or was killed, how it ended."""
        if self.code < 0:
            return f"it was killed by signal {-self.code} ({self.signal_name})"
        return last_line(self.said) or f"it ended with {self.code} and said nothing"


def run_child(
    command: Sequence[str],
    *,
    given: bytes = b"",
    folder: Path | None = None,
    files: Sequence[int] = (),
    limits: Limits = Limits(),
    with_output: bool = False,
) -> Ended:
    """Run a command to its end, and end with it whatever it started.

    Parameters
    ----------
    command
        The program and its arguments; never a shell's.
    given
        What it reads from stdin.
    folder
        Where it runs (default: here).
    files
        The file descriptors that it inherits.
    limits
        What it may take.
    with_output
        Whether what it said includes stdout beside stderr.

    Raises
    ------
    LimitExceeded
        It took more than it may, and was stopped.
    EnvironmentMissing
        It shall inherit files, and this system has no such children.

    """
    if files and not hasattr(os, "killpg"):
        raise EnvironmentMissing("a child process inherits open files on Linux and macOS only: run this command there")
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=said if with_output else subprocess.DEVNULL,
            stderr=said,
            pass_fds=tuple(files),
            start_new_session=True,
        )
        try:
            _give(child, given)
            _wait(child, limits)
        finally:
            end_group(child)
        said.seek(0)
        return Ended(child.returncode, said.read().decode(errors="replace"))


def error_of(ended: Ended, unknown: Callable[[str], VitrifyError]) -> VitrifyError:
    """Return the error that a child of ours ended with; `unknown` makes one of a reason where its code says none."""
    return _BY_CODE.get(ended.code, unknown)(ended.reason)


def last_line(text: str) -> str:
    """Return what an output ends with, which is where Python says what went wrong; "" where it says nothing."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix(_PREFIX) if lines else ""


def end_group(child: "subprocess.Popen[bytes]") -> None:
    """End a child that leads a process group, and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    child.wait()


def _give(child: "subprocess.Popen[bytes]", content: bytes) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError), child.stdin as stream:  # what it said before it ended tells why
        stream.write(content)


def _wait(child: "subprocess.Popen[bytes]", limits: Limits) -> None:
    if limits == Limits():
        child.wait()
        return
    deadline = time.monotonic() + (float("inf") if limits.seconds is None else limits.seconds)
    while child.poll() is None:
        if time.monotonic() > deadline:
            raise LimitExceeded("time")
        if limits.memory_bytes is not None and (used := _resident(child.pid)) > limits.memory_bytes:
            raise LimitExceeded("memory", used)
        time.sleep(_POLL_SECONDS)


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
