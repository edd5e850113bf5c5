"""An engine in a folder with the fakes that run it: it adds two inputs, and doubles a cache in bfloat16."""

import hashlib
from dataclasses import replace

import numpy as np

from tests.runtime.sessions.fake_gpu import FakeGpu
from tests.runtime.sessions.tensorrt.fake_tensorrt import FakeTensorRt
from vitrify.runtime.bundle.engines import Engine, write_sidecar
from vitrify.runtime.graphs.signature import Tensor
from vitrify.runtime.sessions.opening import Opening
from vitrify.runtime.sessions.tensorrt.session import EngineSession

PLAN = b"an engine"
RANGES = {
    "decode": {"left": ((1, 1), (1, 1), (4, 1)), "right": ((1, 1), (1, 1), (4, 1)), "past": ((1, 0), (1, 4), (4, 16))},
    "prefill": {
        "left": ((1, 1), (2, 8), (4, 32)),
        "right": ((1, 1), (2, 8), (4, 32)),
        "past": ((1, 0), (2, 0), (4, 16)),
    },
}
ENGINE = Engine(
    profile="trt-fp16-latency",
    graph="model",
    builder="tensorrt-rtx",
    version="1.7.1.116",
    sm="89",
    sources={"onnx/model_trt_fp16.onnx": "0" * 64},
    shapes=RANGES,
    inputs=(
        Tensor("left", "float32", ("batch", "sequence")),
        Tensor("right", "float32", ("batch", "sequence")),
        Tensor("past", "bfloat16", ("batch", "past")),
    ),
    outputs=(Tensor("sum", "float32", ("batch", "sequence")), Tensor("present", "bfloat16", ("batch", "total"))),
    sha256=hashlib.sha256(PLAN).hexdigest(),
)


def add(left, right, past):
    return {"sum": left + right, "present": np.concatenate([past, past + 1], axis=1)}


def shapes(given):
    rows, past = given["past"]
    return {"sum": given["left"], "present": (rows, 2 * past)}


def write(folder, engine=ENGINE):
    (folder / "trt").mkdir(exist_ok=True)
    write_sidecar(engine, folder)
    path = folder / engine.file
    path.write_bytes(PLAN)
    return path


class Bench:
    """One engine: `open` returns a session on it, `gpu` and `trt` are the fakes, `names` what was imported."""

    def __init__(self, folder, engine=ENGINE, *, capability="89", kernel=add, shapes=shapes, **module):
        engine = replace(engine, sha256=hashlib.sha256(PLAN).hexdigest())
        self.path, self.folder = write(folder, engine), folder
        self.gpu = FakeGpu(capability=capability)
        self.trt = FakeTensorRt(self.gpu, engine, kernel=kernel, shapes=shapes, **module)
        self.names = []

    def load(self, name):
        self.names.append(name)
        return self.trt

    def open(self, **changes):
        seams = {"driver": lambda: self.gpu, "load": self.load, "cache": self.folder / "cache", **changes}
        return EngineSession(self.path, options={}, opening=Opening(), **seams)


def feeds(batch=2, sequence=5, past=3, seed=0):
    draw = np.random.default_rng(seed)
    left, right = draw.normal(size=(2, batch, sequence)).astype(np.float32)
    return {"left": left, "right": right, "past": draw.integers(0, 1 << 15, (batch, past)).astype(np.uint16)}


def assert_right(outputs, given):
    wanted = add(**given)
    assert list(outputs) == ["sum", "present"]
    for name, array in outputs.items():
        np.testing.assert_array_equal(array, wanted[name])
        assert array.dtype == wanted[name].dtype
