"""The machine's own limits: how fast it multiplies matrices of each precision, and how fast it reads memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ...runtime.sessions.telemetry import openvino_module

_SIDE = 1536
_READ = 1 << 28  # bytes, beyond any cache
# Integers from -127 to 127, as a layer's weights and inputs become.
_LOW, _HIGH, _STEPS = np.float32(-1), np.float32(1), 255


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works; each call returns what it did, in floating-point operations or bytes."""
    del model, variant
    return {
        "fp32": _gemm,
        "bf16": lambda: _layer(threads),
        "int8": lambda: _layer(threads, to_int8=True),
        "read": lambda: _read(threads),
    }


def _gemm() -> Callable[[], float]:
    """Return the function that multiplies two square matrices by numpy's BLAS."""
    first, second = np.random.default_rng(0).standard_normal((2, _SIDE, _SIDE), np.float32)
    out = np.empty_like(first)

    def run() -> float:
        np.matmul(first, second, out=out)
        return 2.0 * _SIDE**3

    return run


def _layer(threads: int, *, to_int8: bool = False) -> Callable[[], float]:
    """Return the function that multiplies a square matrix by a constant one in OpenVINO, in bfloat16 or int8."""
    openvino = openvino_module()
    made = openvino.opset13
    first, second = np.random.default_rng(0).uniform(_LOW, _HIGH, (2, _SIDE, _SIDE)).astype(np.float32)
    given = made.parameter(first.shape, np.float32)
    factors = [given, made.constant(second)]
    if to_int8:
        factors = [made.fake_quantize(each, _LOW, _HIGH, _LOW, _HIGH, _STEPS) for each in factors]
    graph = openvino.Model([made.matmul(*factors, False, True)], [given])
    properties = {"INFERENCE_PRECISION_HINT": "bf16", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(graph, "CPU", properties).create_infer_request()
    request.set_input_tensor(openvino.Tensor(first, shared_memory=True))

    def run() -> float:
        request.infer()
        return 2.0 * _SIDE**3

    return run


def _read(threads: int) -> Callable[[], float]:
    """Return the function that reads an array once, a part of it in each thread."""
    parts = np.array_split(np.ones(_READ // 4, np.float32), threads)  # written, so that the pages are there
    pool = ThreadPoolExecutor(threads)

    def run() -> float:
        list(pool.map(lambda part: np.dot(part, part), parts))
        return float(_READ)

    return run
