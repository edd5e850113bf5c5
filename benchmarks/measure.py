"""Time A and B in one run, interleaved: these machines are shared, so only ratios within a run mean something."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from vitrify.bench.interleaved import shuffled
from vitrify.runtime.sessions.telemetry import without_telemetry

PAUSE = 0.03
_LAUNCHER = """
import os, sys, time
start = time.perf_counter()
silent = os.open(os.devnull, os.O_WRONLY)
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


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
    launch = [sys.executable, "-c", _LAUNCHER, *command]
    done = subprocess.run(launch, env=without_telemetry(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"benchmark command failed: {' '.join(command)}: {done.stderr[-500:]}")
    seconds, kilobytes = done.stdout.split()[-2:]
    return float(seconds), int(kilobytes) / 1024
