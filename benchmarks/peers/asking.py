"""The parent's side of a peer's process: start it, ask it, and say in one line what went wrong."""

import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vitrify.runtime.machine import this_machine

from .environments import ROOT, Peer, last_line
from .errors import PeerError

# Loading may build a graph, or read weights that are not in memory yet.
LOAD_SECONDS = 180.0


@dataclass(frozen=True)
class Answer:
    """The seconds that a peer measured, and what it made."""

    seconds: float
    made: Any


class Child:
    """A process that has loaded a model in a peer's environment; raises PeerError where it does not start or answer."""

    def __init__(self, peer: Peer, *, model: str, variant: str, threads: int | None = None) -> None:
        threads = threads or this_machine().cores
        limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._unread = b""
        self._process = subprocess.Popen(
            [peer.python(), "-m", "benchmarks.peers.child", peer.module, *peer.shown],
            cwd=ROOT,
            env=os.environ | limits | {"TOKENIZERS_PARALLELISM": "false"},
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

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, kind: str, arguments: Mapping[str, Any], *, limit: float) -> Answer:
        """Return what one run of a work took and made; a process that takes longer than `limit` seconds is ended."""
        answer = self._answer({"kind": kind, **arguments}, limit)
        return Answer(answer["seconds"], answer["made"])

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
            raise PeerError(answer["error"])
        return answer

    def _line(self, limit: float) -> bytes:
        assert self._process.stdout is not None
        deadline = time.monotonic() + limit
        while b"\n" not in self._unread:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left)[0]:
                self._process.kill()
                raise PeerError(f"no answer within {limit:.0f} seconds")
            piece = os.read(self._process.stdout.fileno(), 1 << 16)
            if not piece:
                raise self._ended()
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self) -> PeerError:
        code = self._process.wait()
        how = f"exit status {code}" if code >= 0 else signal.Signals(-code).name
        self._errors.seek(0)
        return PeerError(f"crashed with {how}: {last_line(self._errors.read().decode(errors='replace'))}")
