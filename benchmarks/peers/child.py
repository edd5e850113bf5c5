"""A peer's process: it loads its model once, then answers each line of JSON with the seconds that the work took.

It runs in every peer's environment, so it knows nothing but the standard library. The module that it is started with
has `load(model, variant, threads)`, which returns for each kind of work a function of the work's arguments; that
prepares, and returns the function which is timed and whose result goes back.
"""

import json
import os
import sys
import time
from importlib import import_module
from importlib.metadata import version


def main() -> None:
    """Answer until there are no more lines: first the versions of the packages that are shown, or an error."""
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
                    kinds = import_module(module).load(**asked)
                    say(versions={name: version(name).split("+")[0] for name in shown})
                    continue
                kind = asked.pop("kind")
                if kind not in kinds:
                    say(error=f"no work of kind '{kind}' (it does: {', '.join(kinds)})")
                    continue
                run = kinds[kind](**asked)
                start = time.perf_counter()
                made = run()
                say(seconds=time.perf_counter() - start, made=made)
            except Exception as error:  # noqa: BLE001 - whatever a peer raises is its answer
                say(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


if __name__ == "__main__":
    main()
