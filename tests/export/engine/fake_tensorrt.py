"""A TensorRT for the tests of what surrounds one: it behaves as the name of the graph's file says.

It stands on the path of a child process in place of the real module.
"""

import os
import signal
import sys
import time

_BEHAVIOUR = os.environ["FAKE_TENSORRT"]


def _misbehave() -> None:
    if _BEHAVIOUR == "hangs":
        time.sleep(60)
    if _BEHAVIOUR == "grows":
        kept = []
        while True:
            kept.append(bytearray(os.urandom(1 << 20) * 20))
            time.sleep(0.02)
    if _BEHAVIOUR == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if _BEHAVIOUR == "faults":
        os.kill(os.getpid(), signal.SIGSEGV)
    if _BEHAVIOUR == "crashes":
        print("free(): invalid pointer", file=sys.stderr)
        sys.exit(134)


_misbehave()
