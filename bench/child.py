"""A backend's process: it loads its model once, then answers each line of JSON with the seconds that runs took.

It runs in every backend's environment, so it knows nothing but the standard library. The module that it is started
with has `load(model, variant, threads)`, which returns for each kind of work a function of the work's arguments; that
prepares, and returns the function which is timed and whose last result goes back.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main() -> None:
    """Answer until there are no more lines: first what loading took, and of which packages, or an error."""
    module, *shown = sys.argv[1:]
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # libraries print where they like; only answers may reach the parent

        def say(**answer: object) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        kinds = None
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                if kinds is None:
                    start = time.perf_counter()
                    kinds = import_module(module).load(**asked)
                    seconds = time.perf_counter() - start
                    say(versions={name: version(name).split("+")[0] for name in shown}, seconds=seconds)
                    continue
                kind, calls = asked.pop("kind"), asked.pop("calls", 1)
                if kind not in kinds:
                    say(error=f"no work of kind '{kind}' (it does: {', '.join(kinds)})")
                    continue
                forget_peak()
                samples, made = timed(kinds[kind](**asked), calls)
                say(samples=samples, made=made, peak_mb=peak_megabytes())
            except Exception as error:  # noqa: BLE001 - whatever a backend raises is its answer
                say(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def timed(run: Callable[[], object], calls: int) -> tuple[list[float], object]:
    """Return the seconds of each call, and what the last one made."""
    samples, made = [], None
    for _ in range(calls):
        start = time.perf_counter()
        made = run()
        samples.append(time.perf_counter() - start)
    return samples, made


def peak_megabytes() -> float | None:
    """Return the most memory that was resident since the peak was forgotten; None where the system does not say."""
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def forget_peak() -> None:
    """Let the peak begin anew, where the system can."""
    with suppress(OSError):
        _FORGET.write_text("5")


if __name__ == "__main__":
    main()
