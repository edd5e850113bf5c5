"""Works done by several ways in one run: each way is a process that holds its model, and all are asked in turn.

It knows no peer and no model: what a way loads, and whether two did the same work, is for the measurement to say.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, Self, TypeVar

from .process import Answer, Child, PeerError, Program

# The threads of OpenMP spin for 200 ms after a run, those of ONNX Runtime for about 50.
PAUSE = 0.3
_LOG = logging.getLogger("vitrify")
T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """One way to do a work: the program, which variant of it, where its model is, and with how many threads.

    `model` is asked when the process starts, and raises PeerError where there is none. `kind` is for a way that does
    something else than the work says. Without `threads` it takes the cores that are granted.
    """

    name: str
    peer: Program
    variant: str
    model: Callable[[], str]
    kind: str | None = None
    threads: int | None = None


class Task(Protocol):
    """What is done: a kind of work with its arguments, which a child gets as they are, in at most `limit` seconds."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...
    @property
    def limit(self) -> float: ...


@dataclass
class Findings:
    """What one work has given so far: seconds of every call by way, in rounds; a way that failed has a reason instead.

    `made` is what each way's first run made, `first` what that took, `peak_mb` the most memory of any of its runs.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Crew:
    """The processes by what they loaded, each started on first use and again after it has ended."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._children: dict[tuple[Any, ...], Child] = {}
        self._failed: dict[tuple[Any, ...], PeerError] = {}
        self.versions: dict[str, str] = {}
        self.load_seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def child(self, way: Way) -> Child:
        """Return the process of a way; raise PeerError where it does not load, each time it is asked."""
        key = way.peer.name, way.variant, way.threads
        if key in self._failed:
            raise self._failed[key]
        if key not in self._children or not self._children[key].is_alive:
            try:
                child = Child(way.peer, model=way.model(), variant=way.variant, threads=way.threads)
            except PeerError as error:
                self._failed[key] = error
                raise
            self._children[key] = self._stack.enter_context(child)
            self.versions |= child.versions
        self.load_seconds.setdefault(way.name, self._children[key].load_seconds)
        return self._children[key]


def hold(
    task: Task,
    ways: Sequence[Way],
    crew: Crew,
    findings: Findings,
    *,
    rounds: int,
    pause: float = PAUSE,
    settle: Callable[[Callable[[int], Answer]], int] = lambda _ask: 1,
) -> None:
    """Ask every way once to warm up, which tells what it makes, then in shuffled rounds; fill `findings` meanwhile.

    `settle` gets a function that asks a way for a number of calls; it warms the way up and returns how many calls each
    of its turns takes.
    """
    calls: dict[str, int] = {}

    def ask(way: Way, number: int) -> Answer:
        answer = crew.child(way).ask(way.kind or task.kind, task.arguments, limit=task.limit, calls=number)
        findings.made.setdefault(way.name, answer.made)
        findings.first.setdefault(way.name, answer.samples[0])
        if answer.peak_mb is not None:
            findings.peak_mb[way.name] = max(answer.peak_mb, findings.peak_mb.get(way.name, 0.0))
        return answer

    def tried(way: Way, act: Callable[[Callable[[int], Answer]], T]) -> T | None:
        time.sleep(pause)
        try:
            return act(lambda number: ask(way, number))
        except PeerError as error:
            findings.failed[way.name] = str(error)
            findings.samples.pop(way.name, None)
            _LOG.warning("%s: %s: %s", task.name, way.name, error)
            return None

    for way in ways:
        if tried(way, lambda once: once(1)) is not None and (found := tried(way, settle)) is not None:
            calls[way.name], findings.samples[way.name] = found, []
    for turn in shuffled(ways, rounds=rounds):
        taken: dict[str, Sequence[float]] = {}
        for way in turn:
            if way.name in findings.samples and (answer := tried(way, lambda ask, way=way: ask(calls[way.name]))):
                taken[way.name] = answer.samples
        for name in findings.samples:  # a round counts when all have done it
            findings.samples[name].extend(taken[name])


def shuffled(names: Sequence[T], *, rounds: int) -> Iterator[list[T]]:
    """Yield the names in another order for each round, the same orders every time."""
    random = Random(0)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        yield random.sample(list(names), len(names))
