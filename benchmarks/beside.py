"""Works done by several ways in one run: each way is a process that holds its model, and all are asked in turn.

It knows no peer and no model: what a way loads, and whether two did the same work, is for the measurement to say.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .measure import ratio, shuffled, spread
from .peers.asking import Child
from .peers.environments import Peer
from .peers.errors import PeerError

# The threads of OpenMP spin for 200 ms after a run, those of ONNX Runtime for about 50.
PAUSE = 0.3
REFERENCE = "PyTorch fp32"


@dataclass(frozen=True)
class Way:
    """One way to do a work: the peer, which variant of it, and where its model is.

    `model` is asked when the process starts, and raises PeerError where there is none. `kind` is for a way that does
    something else than the work says.
    """

    name: str
    peer: Peer
    variant: str
    model: Callable[[], str]
    kind: str | None = None


@dataclass(frozen=True)
class Work:
    """What is done: a kind of work with its arguments, which a child gets as they are.

    Attributes
    ----------
    ways
        The names of those that do it.
    tokens
        How many tokens one run writes; 0 where only its seconds count.
    judged
        Given what a way made and what the reference made (None where that failed), returns what to keep of it;
        raises PeerError where it is not the work that was asked for.
    rounds
        How many rounds, in place of the measurement's.
    limit
        Seconds that one run may take.

    """

    name: str
    kind: str
    arguments: Mapping[str, Any]
    ways: Sequence[str]
    tokens: int = 0
    judged: Callable[[Any, Any], Mapping[str, Any]] = lambda _made, _reference: {}
    rounds: int | None = None
    limit: float = 120.0


@dataclass
class _Findings:
    """What one work has given so far; a way that failed has a reason and no samples."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure_works(works: Sequence[Work], ways: Sequence[Way], *, rounds: int, pause: float = PAUSE) -> dict[str, Any]:
    """Return for each work the seconds of every way, ratios of the same rounds, and why a way has none.

    Ctrl-C ends the run and keeps what was measured: then `interrupted` says at which work.
    """
    by_name = {way.name: way for way in ways}
    result: dict[str, Any] = {"work": {}, "versions": {}}
    with ExitStack() as stack:
        crew = _Crew(stack)
        for work in works:
            findings = _Findings()
            try:
                _run(work, [by_name[name] for name in work.ways], crew, findings, work.rounds or rounds, pause)
            except KeyboardInterrupt:
                result["interrupted"] = work.name
            if any(findings.samples.values()) or (findings.failed and "interrupted" not in result):
                result["work"][work.name] = _summary(work, by_name, findings)
            if "interrupted" in result:
                break
        result["versions"] = crew.versions
    return result


class _Crew:
    """The processes by what they loaded, each started on first use and again after it has ended."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._children: dict[tuple[str, str], Child] = {}
        self._failed: dict[tuple[str, str], PeerError] = {}
        self.versions: dict[str, str] = {}

    def child(self, way: Way) -> Child:
        key = way.peer.name, way.variant
        if key in self._failed:
            raise self._failed[key]
        if key not in self._children or not self._children[key].is_alive:
            try:
                self._children[key] = self._stack.enter_context(Child(way.peer, model=way.model(), variant=way.variant))
            except PeerError as error:
                self._failed[key] = error
                raise
            self.versions |= self._children[key].versions
        return self._children[key]


def _run(work: Work, ways: Sequence[Way], crew: _Crew, findings: _Findings, rounds: int, pause: float) -> None:
    """Ask every way once to warm up, which tells what it makes, then in shuffled rounds."""

    def ask(way: Way) -> float | None:
        time.sleep(pause)
        try:
            answer = crew.child(way).ask(way.kind or work.kind, work.arguments, limit=work.limit)
        except PeerError as error:
            findings.failed[way.name] = str(error)
            findings.samples.pop(way.name, None)
            print(f"{work.name}: {way.name}: {error}", file=sys.stderr)
            return None
        findings.made.setdefault(way.name, answer.made)
        return answer.seconds

    for way in ways:
        if ask(way) is not None:
            findings.samples[way.name] = []
    for turn in shuffled(ways, rounds=rounds):
        taken = {way.name: seconds for way in turn if way.name in findings.samples and (seconds := ask(way))}
        for name in findings.samples:  # a round counts when all have done it
            findings.samples[name].append(taken[name])


def _summary(work: Work, ways: Mapping[str, Way], findings: _Findings) -> dict[str, Any]:
    """Return what is kept of a work."""
    made, failed, notes = findings.made, dict(findings.failed), {}
    for name in findings.samples:
        if ways[name].kind is None:
            try:
                notes[name] = dict(work.judged(made[name], made.get(REFERENCE)))
            except PeerError as error:
                failed[name] = str(error)
    samples = {name: values for name, values in findings.samples.items() if name not in failed}
    ours = [name for name in samples if ways[name].peer.name == "vitrify" and ways[name].kind is None]
    speeds = {name: spread([work.tokens / value for value in values]) for name, values in samples.items()}
    return {
        "seconds": {name: spread(values) for name, values in samples.items()},
        **({"tokens_per_second": speeds} if work.tokens else {}),
        "ratios": {
            f"{other} / {mine}": ratio(values, samples[mine])
            for mine in ours
            for other, values in samples.items()
            if other not in ours
        },
        "made": notes,
        "failed": failed,
    }
