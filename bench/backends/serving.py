"""Arrivals at times that were drawn beforehand, served one after the other: latency counts from the intended start."""

import time
from collections.abc import Callable, Sequence


def serve(run: Callable[[], object], arrivals: Sequence[float]) -> list[float]:
    """Call `run` for each arrival (seconds from now, ascending) and return each one's seconds until it was served.

    A call that begins late because the one before was slow counts from its arrival: queueing is not hidden.
    """
    latencies = []
    start = time.perf_counter()
    for arrival in arrivals:
        if (early := start + arrival - time.perf_counter()) > 0:
            time.sleep(early)
        run()
        latencies.append(time.perf_counter() - start - arrival)
    return latencies
