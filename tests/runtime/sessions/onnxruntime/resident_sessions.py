"""A portable graph on GPUs that are fakes, where keys and values stay: the numbers are those of the CPU."""

from types import SimpleNamespace

import numpy as np

from tests.runtime.sessions.onnxruntime.fake_onnxruntime import FakeOnnxRuntime
from tests.runtime.sessions.tensorrt.engine_bench import Bench
from vitrify.runtime.bundle.engines import Engine
from vitrify.runtime.sessions import open_session
from vitrify.runtime.sessions.onnxruntime.cuda import CudaSession
from vitrify.runtime.sessions.opening import Opening

CUDA = "CUDAExecutionProvider"
ROOM = 1 << 26


def cuda_session(path, **options):
    """Open a graph on a CUDA that is none."""
    ort = FakeOnnxRuntime(CUDA, built=(CUDA,))
    return CudaSession(path, options=options, opening=Opening(1), load=lambda: ort)


def engine_bench(path, folder, *, limit):
    """Return the bench of an engine of a decoder's graph; axes have up to `limit` tokens and eight rows."""
    real = open_session(path, provider="cpu", opening=Opening(1))
    inputs = real.inputs

    def at(size):
        return {one.name: tuple(_size(axis, size) for axis in one.axes) for one in inputs}

    low, best, high = at((1, 0, 1)), at((1, 4, 4)), at((8, limit, limit))
    engine = Engine(
        profile="trt-fp16-latency",
        graph="model",
        builder="tensorrt-rtx",
        version="1.7.1.116",
        sm="89",
        sources={},
        shapes={"all": {name: (low[name], best[name], high[name]) for name in low}},
        inputs=inputs,
        outputs=real.outputs,
    )

    def shapes(given):
        rows, new = given["input_ids"]
        made = {name: (*shape[:2], shape[2] + new, shape[3]) for name, shape in given.items() if len(shape) == 4}
        return {"logits": (rows, new, real.outputs[0].axes[-1])} | {
            name.replace("past_key_values", "present"): shape for name, shape in made.items()
        }

    def kernel(**arrays):
        # The engine has no optional input: its logits are those of all tokens.
        return real.run({**arrays, "num_logits_to_keep": np.array(0)})

    bench = Bench(folder, engine, kernel=kernel, shapes=shapes)
    bench.gpu.room = ROOM
    return bench


def _size(axis, sizes):
    rows, past, new = sizes
    return axis if isinstance(axis, int) else {"batch": rows, "past": past, "total": past + new}.get(axis, new)


def as_model(session, axes):
    """Return what a decoding knows of a graph."""
    return SimpleNamespace(session=session, axes=axes)
