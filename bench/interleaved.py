"""One job done by several backends, interleaved: each is a process that has loaded its model, and they take turns.

It knows no baseline and no model: what is loaded, and whether two did the same work, is for the caller to say.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol, Self, TypeVar

from .process import Answer, BackendError, Child, Program

# The threads of OpenMP spin for 200 ms after a run, those of ONNX Runtime for about 50.
PAUSE = 0.3
_LOG = logging.getLogger("vitrify")
T = TypeVar("T")


@dataclass(frozen=True)
class Runner:
    """How one backend is run: the program, which variant of it, where its model is, and with how many threads.

    `model` is asked when the process starts, and raises BackendError where there is none. `kind` is for one
    that does something else than the job says. Without `threads` it takes the cores that are granted.
    """

    name: str
    program: Program
    variant: str
    model: Callable[[], str]
    kind: str | None = None
    threads: int | None = None


class Job(Protocol):
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
class Observations:
    """What a job has given so far: seconds of every call by runner, in rounds; or the reason of one that failed.

    `made` is what each runner's first run made, `first` what that took, `peak_mb` the most memory of any of its runs.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Processes:
    """The processes by what they loaded, each started on first use and again after it has ended."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._children: dict[tuple[Any, ...], Child] = {}
        self._failed: dict[tuple[Any, ...], BackendError] = {}
        self.versions: dict[str, str] = {}
        self.load_seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def child(self, runner: Runner) -> Child:
        """Return the process of a runner; raise BackendError where it does not load, each time it is asked."""
        key = runner.program.name, runner.variant, runner.threads
        if key in self._failed:
            raise self._failed[key]
        if key not in self._children or not self._children[key].is_alive:
            try:
                child = Child(runner.program, model=runner.model(), variant=runner.variant, threads=runner.threads)
            except BackendError as error:
                self._failed[key] = error
                raise
            self._children[key] = self._stack.enter_context(child)
            self.versions |= child.versions
        self.load_seconds.setdefault(runner.name, self._children[key].load_seconds)
        return self._children[key]


def run_interleaved(
    job: Job,
    runners: Sequence[Runner],
    processes: Processes,
    observed: Observations,
    *,
    rounds: int,
    pause: float = PAUSE,
    settle: Callable[[Callable[[int], Answer]], int] = lambda _ask: 1,
    told: Callable[[int], None] = lambda _number: None,
) -> None:
    """Ask every runner once to warm up, which tells what it makes, then in shuffled rounds; fill `observed` meanwhile.

    `settle` gets a function that asks a runner for a number of calls; it warms the runner up and returns how many
    calls each of its repetitions makes. `told` gets the number of each round as it begins, from 1.
    """
    calls: dict[str, int] = {}

    def ask(runner: Runner, number: int) -> Answer:
        answer = processes.child(runner).ask(runner.kind or job.kind, job.arguments, limit=job.limit, calls=number)
        observed.made.setdefault(runner.name, answer.made)
        observed.first.setdefault(runner.name, answer.samples[0])
        if answer.peak_mb is not None:
            observed.peak_mb[runner.name] = max(answer.peak_mb, observed.peak_mb.get(runner.name, 0.0))
        return answer

    def tried(runner: Runner, act: Callable[[Callable[[int], Answer]], T]) -> T | None:
        time.sleep(pause)
        try:
            return act(lambda number: ask(runner, number))
        except BackendError as error:
            observed.failed[runner.name] = str(error)
            observed.samples.pop(runner.name, None)
            _LOG.warning("%s: %s: %s", job.name, runner.name, error)
            return None

    for runner in runners:
        if tried(runner, lambda once: once(1)) is not None and (found := tried(runner, settle)) is not None:
            calls[runner.name], observed.samples[runner.name] = found, []
    for number, repetition in enumerate(shuffled(runners, rounds=rounds), 1):
        told(number)
        taken: dict[str, Sequence[float]] = {}
        for runner in repetition:
            if runner.name in observed.samples and (
                answer := tried(runner, lambda ask, runner=runner: ask(calls[runner.name]))
            ):
                taken[runner.name] = answer.samples
        for name in observed.samples:  # a round counts when all have done it
            observed.samples[name].extend(taken[name])


def shuffled(names: Sequence[T], *, rounds: int) -> Iterator[list[T]]:
    """Yield the names in another order for each round, the same orders every time."""
    random = Random(0)  # noqa: S311 - an order, no secret
    for _ in range(rounds):
        yield random.sample(list(names), len(names))
