"""The parent's side of a backend's process: start it, ask it, and say in one line what went wrong."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from ..runtime.errors import EnvironmentMissing
from ..runtime.machine import usable_cores
from ..runtime.sessions.telemetry import without_telemetry

# Loading may build a graph, or read weights that are not in memory yet.
LOAD_SECONDS = 180.0
_CHILD = Path(__file__).with_name("child.py")


class BackendError(Exception):
    """A backend that is not there, fails or gives what was not asked for; the row of it says the reason."""


class Program(Protocol):
    """What runs a model: `module` answers for it in the interpreter that `python()` returns, under `folder`.

    `shown` are the packages whose versions stand beside its figures. `python()` raises BackendError
    if it is not set up.
    """

    @property
    def name(self) -> str: ...
    @property
    def module(self) -> str: ...
    @property
    def shown(self) -> Sequence[str]: ...
    @property
    def folder(self) -> Path | None: ...
    def python(self) -> str: ...


@dataclass(frozen=True)
class Answer:
    """The seconds that each call took, what the last one made, and the most memory that was resident meanwhile."""

    samples: tuple[float, ...]
    made: Any
    peak_mb: float | None

    @property
    def seconds(self) -> float:
        """What the last call took."""
        return self.samples[-1]


class Child:
    """A process that has loaded a model; raises BackendError where it does not start or answer.

    `load_seconds` is what loading took in it, imports included, `versions` are those of the program's packages.
    """

    def __init__(self, program: Program, *, model: str, variant: str, threads: int | None = None) -> None:
        check_system()
        threads = threads or usable_cores()
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._unread = b""
        self._process = subprocess.Popen(  # noqa: S603 - an interpreter and our own child
            [program.python(), "-P", str(_CHILD), program.module, *program.shown],
            env=without_telemetry() | limits | {"TOKENIZERS_PARALLELISM": "false"} | _import_path(program),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            process_group=0,  # Ctrl-C is the parent's, who ends its children
        )
        try:
            answer = self._answer({"model": model, "variant": variant, "threads": threads}, LOAD_SECONDS)
        except BaseException:
            self.close()
            raise
        self.versions: dict[str, str] = answer["versions"]
        self.load_seconds: float = answer["seconds"]

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, kind: str, arguments: Mapping[str, Any], *, limit: float, calls: int = 1) -> Answer:
        """Return what `calls` runs of a work took and made; a process that takes over `limit` seconds is ended."""
        answer = self._answer({"kind": kind, "calls": calls, **arguments}, limit)
        return Answer(tuple(answer["samples"]), answer["made"], answer["peak_mb"])

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, asked: Mapping[str, Any], limit: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._ended() from None
        answer = json.loads(self._line(limit))
        if "error" in answer:
            raise BackendError(answer["error"])
        return answer

    def _line(self, limit: float) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                self._process.kill()
                raise BackendError(f"no answer within {limit:.0f} seconds")
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                raise self._ended()
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self) -> BackendError:
        code = self._process.wait()
        how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        self._errors.seek(0)
        return BackendError(f"crashed with {how}: {last_line(self._errors.read().decode(errors='replace'))}")


def check_system(name: str = os.name) -> None:
    """Raise EnvironmentMissing where no process can be asked with a deadline: Windows' select() knows sockets only."""
    if name == "nt":
        raise EnvironmentMissing("benchmarks are not supported on Windows: run them on Linux, macOS or in WSL")


def _import_path(program: Program) -> dict[str, str]:
    """Return what lets the process import the program's module, where that is not installed."""
    if program.folder is None:
        return {}
    return {"PYTHONPATH": os.pathsep.join([str(program.folder), *filter(None, [os.environ.get("PYTHONPATH")])])}


def last_line(text: str) -> str:
    """Return what an output ends with, which is where Python and pip say what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR:", "error:"))]
    return (errors or lines or ["no reason was given"])[-1][:300]
