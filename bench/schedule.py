"""How far a benchmark is and about how long the rest takes; it measures nothing and prints nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ..runtime.amounts import counted
from ..runtime.steps import Progress, duration

# Seconds, before anything is known: the machine's peaks, a backend's start, its cold call and warm-up on a case.
_PEAKS, _START, _WARM_UP = 3.0, 4.0, 3.0
# So many seconds of the plan weigh as much as what was seen: the first ones say little of the rest.
_TRUST = 5.0


@dataclass(frozen=True)
class Plan:
    """What is to be done: every backend in every round of every case, then `rates` of arrivals for `seconds` each.

    `repetition` is what a backend takes in a round, in seconds, after a pause.
    """

    cases: tuple[str, ...]
    backends: int
    rounds: int
    repetition: float
    pause: float
    rates: int = 0
    seconds: float = 0.0

    @property
    def start(self) -> float:
        """Seconds before the first case."""
        return _PEAKS + self.backends * _START

    @property
    def warm_up(self) -> float:
        """Seconds before the first round of a case."""
        return self.backends * (_WARM_UP + 2 * self.pause)

    @property
    def round_(self) -> float:
        """Seconds of a round."""
        return self.backends * (self.repetition + self.pause)

    @property
    def arrivals(self) -> float:
        """Seconds that one backend is under arrivals on a case."""
        return self.rates * self.seconds

    @property
    def case(self) -> float:
        """Seconds of a case."""
        return self.warm_up + self.rounds * self.round_ + self.backends * self.arrivals

    def __str__(self) -> str:
        counts = ((len(self.cases), "case"), (self.backends, "backend"), (self.rounds, "round"))
        said = ", ".join(counted(count, noun) for count, noun in counts)
        return f"{said}: about {duration(self.start + len(self.cases) * self.case)}, longer if a call is slow"


class Schedule:
    """Tells `progress` each case as it begins, and `detail` each of its rounds, with the time that is left."""

    def __init__(
        self, plan: Plan, progress: Progress, detail: Progress, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan = plan
        self._progress, self._detail, self._clock = progress, detail, clock
        self._began, self._index = clock(), 0
        progress(str(plan))

    def begin_case(self, name: str) -> None:
        """Tell that a case begins."""
        self._index = self.plan.cases.index(name)
        self._tell(self._progress, "", 0.0)

    def begin_round(self, number: int) -> None:
        """Tell that a round of the case begins, the first of them is 1."""
        done = self.plan.warm_up + (number - 1) * self.plan.round_
        self._tell(self._detail, f", round {number} of {self.plan.rounds}", done)

    def begin_arrivals(self, number: int) -> None:
        """Tell that arrivals at a backend begin, the first of them is 1."""
        done = self.plan.warm_up + self.plan.rounds * self.plan.round_ + (number - 1) * self.plan.arrivals
        self._tell(self._detail, f", arrivals at backend {number} of {self.plan.backends}", done)

    def _tell(self, listener: Progress, where: str, done: float) -> None:
        plan = self.plan
        planned = plan.start + self._index * plan.case + done
        slower = (self._clock() - self._began + _TRUST) / (planned + _TRUST)
        left = max(0.0, plan.start + len(plan.cases) * plan.case - planned) * slower
        place = f"case {self._index + 1} of {len(plan.cases)}{where}"
        listener(f"{place}, about {duration(left)} left: {plan.cases[self._index]}")
