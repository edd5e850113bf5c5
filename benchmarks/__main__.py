"""`./dev bench [start|latency|exporting|generation]`: measure, write benchmarks/results/, renew the README's table."""

import argparse
import importlib
import json
import tempfile
from pathlib import Path

from .measure import environment
from .table import renew_readme

RESULTS = Path(__file__).parent / "results"
# Measurements and how many rounds each takes: processes are slow to start, runs of a model are not.
MEASUREMENTS = {"start": 7, "latency": 40, "exporting": 3, "generation": 5}


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--rounds", type=int, help="rounds in place of each measurement's own")
    arguments = parser.parse_args()
    for name in arguments.names or MEASUREMENTS:
        if name not in MEASUREMENTS:
            parser.error(f"no measurement '{name}' (there are: {', '.join(MEASUREMENTS)})")
        module = importlib.import_module(f".{name}", __package__)
        with tempfile.TemporaryDirectory(prefix="vitrify-bench-") as scratch:
            result = module.measure(Path(scratch), rounds=arguments.rounds or MEASUREMENTS[name])
        RESULTS.mkdir(exist_ok=True)
        content = {"command": f"./dev bench {name}", "environment": environment(), "result": result}
        (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(f"{name}: {RESULTS.name}/{name}.json")
    renew_readme()


if __name__ == "__main__":
    main()
