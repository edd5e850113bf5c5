"""A bare session of ONNX Runtime on the bundle's portable graph, as its documentation shows it: no vitrify around."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...runtime.sessions.telemetry import onnxruntime_module
from .serving import serve


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a graph's file."""
    del variant
    session = bare_session(model, threads=threads)

    def one_run(*, inputs: str) -> Callable[[], Any]:
        feeds = dict(np.load(inputs))
        return lambda: session.run(None, feeds) and None

    def served(*, inputs: str, arrivals: list[float]) -> Callable[[], Any]:
        run = one_run(inputs=inputs)
        return lambda: serve(run, arrivals)

    return {"run": one_run, "serve": served}


def bare_session(graph: str, *, threads: int) -> Any:
    """Return ONNX Runtime's own session on a graph's file."""
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
