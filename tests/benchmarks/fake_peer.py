"""A peer that does nothing: it answers, crashes, raises or takes too long, as its variant says."""

import os
import signal
import sys
import time


def load(model, variant, threads):
    print("libraries print where they like", flush=True)
    if variant == "does-not-load":
        raise ValueError("no such\nmodel")
    asked = []

    def write(*, ids, new):
        asked.append(ids)
        if variant == "crashes":
            print("Segmentation fault", file=sys.stderr, flush=True)
            os._exit(139)
        if variant == "crashes-later" and len(asked) == 3:
            os.kill(os.getpid(), signal.SIGILL)
        if variant == "sleeps":
            time.sleep(60)
        if variant == "raises":
            raise RuntimeError("out of\n  memory")
        made = new - 1 if variant == "writes-less" else new
        return lambda: [list(range(made)) for _ in ids]

    return {"write": write, "steps": lambda **_: lambda: None, "threads": lambda: lambda: [model, threads]}
