"""How far a time is from the machine's limit: the peaks that were measured, and the least time that a graph needs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ..runtime.machine import BF16, INT8, Machine
from ..runtime.sessions import installed_packages
from .backends import Installed
from .process import Child

_MACHINE = Installed("machine", "vitrify.bench.backends.peaks", "", "fp32")
_CALLS = 12
_LIMIT = 120.0
# Where each peak is kept, and of what features the CPU must have one for it to be more than float32's.
_FLOAT32, _MEMORY = "gflops", "gigabytes_per_second"
_FASTER: Mapping[str, tuple[str, frozenset[str]]] = {
    "bf16": ("gflops_bf16", BF16),
    "int8": ("gflops_int8", INT8),
}


class _Need(NamedTuple):
    """What a precision needs of the machine: the peak of its products, and of a float32 weight's bytes this share."""

    peak: str
    share: float


# Low-bit weights are multiplied in int8; their scales are left out.
_NEEDS: Mapping[str, _Need] = {
    "fp32": _Need(_FLOAT32, 1.0),
    "bf16": _Need("gflops_bf16", 1 / 2),
    "int8": _Need("gflops_int8", 1 / 4),
    "w8": _Need("gflops_int8", 1 / 4),
    "w4": _Need("gflops_int8", 1 / 8),
}


def measured_peaks(machine: Machine) -> dict[str, float]:
    """Return the machine's limits, the best of a dozen calls each: gflops of float32, gflops_bf16 and gflops_int8
    where the CPU has instructions for them and OpenVINO is installed to show it, and gigabytes_per_second.
    """
    works = {"fp32": _FLOAT32, "read": _MEMORY}
    if "openvino" in installed_packages():
        works |= {work: name for work, (name, one_of) in _FASTER.items() if one_of & machine.cpu_features}
    with Child(_MACHINE, model="", variant="", threads=machine.cores) as child:
        found = {name: child.ask(work, {}, limit=_LIMIT, calls=_CALLS) for work, name in works.items()}
    return {name: answer.made / min(answer.samples) / 1e9 for name, answer in found.items()}


def least_milliseconds(
    runs: Iterable[Sequence[float]], peaks: Mapping[str, float], precision: str = "fp32"
) -> float | None:
    """Return the least time of runs of graphs, each (floating-point operations, bytes of weights in float32).

    In each run compute or memory bounds it. None where the peak of the precision was not measured.
    """
    need = _NEEDS.get(precision)
    if need is None or need.peak not in peaks:
        return None
    return sum(
        max(flops / peaks[need.peak], need.share * read / peaks[_MEMORY]) / 1e6  # giga a second, in milliseconds
        for flops, read in runs
    )
