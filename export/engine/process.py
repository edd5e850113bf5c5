"""A build in a child process that has so much time and so much memory, and what came of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_COMMAND = (sys.executable, "-P", "-m", "vitrify.export.engine.child")
_POLL_SECONDS = 0.05
_LAST = 300


@dataclass(frozen=True)
class Limits:
    """What a build may take: seconds, and bytes of resident memory (enforced on Linux)."""

    seconds: float = 1800.0
    memory_bytes: int | None = None


def run_build(graph: Path, engine: Path, request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Build `engine` from `graph` as the request says, in a child, and return its report.

    A child that was stopped or crashed has a report too.
    """
    with (
        engine.open("wb") as made,
        tempfile.TemporaryFile() as report,
        tempfile.TemporaryFile() as said,
    ):
        files = {"engine": made.fileno(), "report": report.fileno()}
        child = subprocess.Popen(  # noqa: S603 - a fixed command
            _COMMAND,
            cwd=graph.parent,
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            pass_fds=tuple(files.values()),
            start_new_session=True,
        )
        try:
            _ask(child, json.dumps({**request, **files, "graph": graph.name}))
            stopped = _wait(child, limits)
        finally:
            _kill(child)
        if stopped:
            return stopped
        if child.returncode == 0:
            return json.loads(_all_of(report))
        return _ended(child.returncode, _all_of(said).decode(errors="replace"))


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _ask(child: "subprocess.Popen[bytes]", request: str) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError), child.stdin as stream:  # what it said before it ended tells why
        stream.write(request.encode())


def _wait(child: "subprocess.Popen[bytes]", limits: Limits) -> dict[str, Any] | None:
    """Wait for the end, or return the report of a child that took too much."""
    deadline = time.monotonic() + limits.seconds
    while child.poll() is None:
        if time.monotonic() > deadline:
            return _failed("time", f"the build took more than {limits.seconds:g} s: allow more with --timeout")
        if limits.memory_bytes is not None and (used := _resident(child.pid)) > limits.memory_bytes:
            return _failed(
                "memory",
                f"the build took {used / 1e9:.1f} GB, more than the {limits.memory_bytes / 1e9:.1f} GB allowed: "
                "allow more with --memory, or narrow the ranges",
            )
        time.sleep(_POLL_SECONDS)
    return None


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End the child and whatever it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _resident(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _ended(code: int, said: str) -> dict[str, Any]:
    if code == -signal.SIGKILL:
        return _failed("killed", "the builder was killed: is there enough memory?")
    if code < 0:
        return _failed("crash", f"the builder crashed ({signal.Signals(-code).name}): another release of it may not")
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return _failed("crash", f"the builder ended with {code}: {lines[-1][:_LAST]}")


def _failed(stage: str, why: str) -> dict[str, Any]:
    return {"stage": stage, "reasons": [{"why": why}]}
