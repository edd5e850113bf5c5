"""`./dev bench [NAME...]`: measure, write benchmarks/results/NAME.json, renew the pages of figures."""

import argparse
import importlib
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from vitrify.bench.environment import fingerprint

from .engines_table import renew as renew_engines
from .table import renew as renew_figures

RESULTS = Path(__file__).parent / "results"
# Measurements and how many rounds each has: processes are slow to start, runs of a model are not.
MEASUREMENTS = {
    "start": 7,
    "latency": 40,
    "exporting": 3,
    "generation": 5,
    "batches": 5,
    "ragged": 5,
    "transcription": 5,
    "translation": 5,
    "engines": 1,
}
_INTERRUPTED = 130


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds in place of each measurement's own")
    parser.add_argument("--into", type=Path, help="write there, and leave the pages as they are")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in MEASUREMENTS]:
        parser.error(f"no measurement '{unknown[0]}' (there are: {', '.join(MEASUREMENTS)})")
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {arguments.rounds}")
    # A time limit ends a run as Ctrl-C does, in the background too, where a shell lets SIGINT be ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for name in arguments.names or MEASUREMENTS:
            _measure(name, rounds=arguments.rounds or MEASUREMENTS[name], into=arguments.into or RESULTS)
    except KeyboardInterrupt:
        print("interrupted; nothing was kept of this measurement", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    if not arguments.into:
        renew_figures()
        renew_engines()


def _measure(name: str, *, rounds: int, into: Path) -> None:
    module = importlib.import_module(f".{name}", __package__)
    with tempfile.TemporaryDirectory(prefix="vitrify-bench-") as scratch:
        result = module.measure(Path(scratch), rounds=rounds)
    into.mkdir(parents=True, exist_ok=True)
    if work := result.get("interrupted"):
        # It may not take a whole run's place.
        _write(into / f"{name}.interrupted.json", name, result)
        print(f"interrupted at '{work}'; what was measured is in {name}.interrupted.json", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    _write(into / f"{name}.json", name, result)
    print(f"{name}: {into.name}/{name}.json")


def _write(path: Path, name: str, result: dict[str, Any]) -> None:
    content = {"command": f"./dev bench {name}", "environment": fingerprint(), "result": result}
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
