"""How far a time is from the machine's limit: the peaks that were measured, and the least time that a graph needs."""

from collections.abc import Iterable, Mapping, Sequence

from .contenders import Installed
from .process import Child

_MACHINE = Installed("machine", "vitrify.bench.contenders.machine", "", "fp32")
_CALLS = 12
_LIMIT = 120.0


def measured_peaks(threads: int) -> dict[str, float]:
    """Return the machine's limits in float32 as gflops and gigabytes_per_second, the best of a dozen calls each."""
    with Child(_MACHINE, model="", variant="", threads=threads) as child:
        found = {kind: child.ask(kind, {}, limit=_LIMIT, calls=_CALLS) for kind in ("gemm", "read")}
    best = {kind: answer.made / min(answer.samples) / 1e9 for kind, answer in found.items()}
    return {"gflops": best["gemm"], "gigabytes_per_second": best["read"]}


def least_milliseconds(runs: Iterable[Sequence[float]], peaks: Mapping[str, float]) -> float:
    """Return the least time of runs of graphs, each (floating-point operations, bytes): compute or memory bounds it."""
    return sum(
        max(flops / peaks["gflops"], read / peaks["gigabytes_per_second"]) / 1e6  # giga a second, in milliseconds
        for flops, read in runs
    )
