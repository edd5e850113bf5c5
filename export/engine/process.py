"""A build in a child process that has so much time and so much memory, and what came of it."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from ...runtime.child import Ended, LimitExceeded, Limits, run_child

_COMMAND = (sys.executable, "-P", "-m", "vitrify.export.engine.child")
_LAST = 300


def run_build(graph: Path, engine: Path, request: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Build `engine` from `graph` as the request says, in a child, and return its report.

    A child that was stopped or crashed has a report too.
    """
    with engine.open("wb") as made, tempfile.TemporaryFile() as report:
        files = {"engine": made.fileno(), "report": report.fileno()}
        given = json.dumps({**request, **files, "graph": graph.name}).encode()
        try:
            ended = run_child(
                _COMMAND, given=given, folder=graph.parent, files=[*files.values()], limits=limits, with_output=True
            )
        except LimitExceeded as stop:
            return _stopped(stop, limits)
        return json.loads(_all_of(report)) if ended.code == 0 else _ended(ended)


def _all_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _stopped(stop: LimitExceeded, limits: Limits) -> dict[str, Any]:
    if limits.memory_bytes is None or stop.what == "time":
        return _failed("time", f"the build took more than {limits.seconds:g} s: allow more with --timeout")
    return _failed(
        "memory",
        f"the build took {stop.used / 1e6:,.0f} MB, more than the {limits.memory_bytes / 1e6:,.0f} MB allowed: "
        "allow more with --memory, or narrow the ranges",
    )


def _ended(ended: Ended) -> dict[str, Any]:
    if ended.signal_name == "SIGKILL":
        return _failed("killed", "the builder was killed: is there enough memory?")
    if ended.code < 0:
        return _failed("crash", f"the builder crashed ({ended.signal_name}): another release of it may not")
    return _failed("crash", f"the builder ended with {ended.code}: {ended.reason[:_LAST]}")


def _failed(stage: str, why: str) -> dict[str, Any]:
    return {"stage": stage, "reasons": [{"why": why}]}
