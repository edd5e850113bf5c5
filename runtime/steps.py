"""The steps of a long command: which of how many, and about how long the rest takes; it prints nothing."""

import time
from collections.abc import Callable, Mapping

Progress = Callable[[str], None]


class Steps:
    """Tells `progress` each step as it begins, such as "step 2 of 5: tracing the graph, about 40 s left".

    `weights` are the steps in their order, with how long each takes beside the others; a step may begin again.
    """

    def __init__(
        self, progress: Progress, weights: Mapping[str, float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._progress = progress
        self._weights = dict(weights)
        self._clock = clock
        self._start = clock()

    def begin(self, name: str) -> None:
        """Tell that a step begins; one that nobody announced has no number."""
        names = list(self._weights)
        if name not in self._weights:
            self._progress(name)
            return
        place = names.index(name)
        done, whole = sum(list(self._weights.values())[:place]), sum(self._weights.values())
        left = f", about {duration((self._clock() - self._start) * (whole - done) / done)} left" if done else ""
        self._progress(f"step {place + 1} of {len(names)}: {name}{left}")


def duration(seconds: float) -> str:
    """Return 42 s, 3 min or 2.5 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.0f} s"
