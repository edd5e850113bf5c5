"""Time A and B in one run, interleaved: these machines are shared, so only ratios within a run mean something."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from vitrify.runtime.machine import this_machine

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm", "dotprod")
PACKAGES = ("vitrify", "onnxruntime", "onnxruntime-ep-openvino", "torch", "transformers", "numpy", "tokenizers")


def interleaved(runs: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 3) -> dict[str, list[float]]:
    """Return seconds per call: every round calls each function once, in an order that turns by one each round."""
    names = list(runs)
    for name in names:
        for _ in range(warmup):
            runs[name]()
    samples: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.perf_counter()
            runs[name]()
            samples[name].append(time.perf_counter() - start)
    return samples


def processes(
    commands: Mapping[str, Sequence[str]], *, rounds: int, warmup: int = 1
) -> dict[str, dict[str, list[float]]]:
    """Return, for each command, seconds of wall clock and peak resident MB of a new process, interleaved."""
    samples: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "megabytes": []} for name in commands}
    for turn in range(-warmup, rounds):
        for name, command in commands.items():
            seconds, megabytes = _spawned(command)
            if turn >= 0:
                samples[name]["seconds"].append(seconds)
                samples[name]["megabytes"].append(megabytes)
    return samples


def _spawned(command: Sequence[str]) -> tuple[float, float]:
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        reason = child.stderr.read().decode()[-500:] if child.stderr else ""
        sys.exit(f"benchmark command failed: {' '.join(command)}: {reason}")
    return seconds, usage.ru_maxrss / 1024


def spread(samples: Sequence[float]) -> dict[str, float]:
    """Return median, the quartiles and the minimum."""
    ordered = sorted(samples)
    low, _, high = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else (ordered[0],) * 3
    return {"median": statistics.median(ordered), "q1": low, "q3": high, "min": ordered[0], "count": len(ordered)}


def ratio(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float]:
    """Return the median and quartiles of the ratios of samples taken in the same round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)])


def environment() -> dict[str, object]:
    """Describe the machine and the versions: what a number depends on."""
    machine = this_machine()
    return {
        "cpu": machine.model_name,
        "features": [name for name in FEATURES if name in machine.cpu_features],
        "cores": machine.cores,
        "memory_gb": round(machine.memory_bytes / 2**30),
        "python": platform.python_version(),
        "system": platform.system(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None
