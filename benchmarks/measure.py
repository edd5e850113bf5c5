"""Time A and B in one run, interleaved: these machines are shared, so only ratios within a run mean something."""

import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from random import Random
from typing import TypeVar

from vitrify.runtime.machine import this_machine

PAUSE = 0.03
T = TypeVar("T")
_LAUNCHER = """
import os, sys, time
start = time.perf_counter()
silent = os.open(os.devnull, os.O_WRONLY)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm", "dotprod")
PACKAGES = (
    "vitrify",
    "onnxruntime",
    "onnxruntime-ep-openvino",
    "torch",
    "transformers",
    "numpy",
    "tokenizers",
    "tensorrt-rtx",
)


def interleaved(runs: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 3) -> dict[str, list[float]]:
    """Return seconds per call: every round calls each function once, in a shuffled order.

    A pause before each call lets the threads of the one before stop spinning.
    """
    for run in runs.values():
        for _ in range(warmup):
            run()
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for turn in shuffled(list(runs), rounds=rounds):
        for name in turn:
            time.sleep(PAUSE)
            start = time.perf_counter()
            runs[name]()
            samples[name].append(time.perf_counter() - start)
    return samples


def shuffled(names: Sequence[T], *, rounds: int) -> Iterator[list[T]]:
    """Yield the names in another order for each round, the same orders every time."""
    random = Random(0)
    for _ in range(rounds):
        yield random.sample(list(names), len(names))


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
    """Run the command under a small launcher: a child counts its parent's memory until it has become the command."""
    done = subprocess.run([sys.executable, "-c", _LAUNCHER, *command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benchmark command failed: {' '.join(command)}: {done.stderr[-500:]}")
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), int(kilobytes) / 1024


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
