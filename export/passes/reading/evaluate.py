"""Compute an inner value of a decoder's graph from positions and lengths: what a pass wants to know, it measures."""

import numpy as np
import onnx_ir

from ....runtime.graphs.signature import PAST
from ....runtime.sessions.telemetry import onnxruntime_module
from ..running import Refusal


def evaluate(graph: onnx_ir.Model, value: onnx_ir.Value, *, tokens: int, past: int) -> np.ndarray:
    """Return `value` for one row of `tokens` tokens after `past` ones; only what it depends on is run.

    Raise Refusal where ONNX Runtime cannot.
    """
    onnxruntime = onnxruntime_module()
    needed = _inputs_of(graph, value)
    part = onnx_ir.convenience.extract(graph.graph, [str(one.name) for one in needed], [str(value.name)])
    model = onnx_ir.Model(part, ir_version=graph.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    feeds = {str(one.name): _fed(one, tokens, past) for one in needed}
    try:
        session = onnxruntime.InferenceSession(
            onnx_ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return np.asarray(session.run(None, feeds)[0])
    except Exception as error:  # its exceptions have no class in common
        raise Refusal(f"'{value.name}' cannot be computed by itself: {str(error).splitlines()[0]}") from error


def _inputs_of(graph: onnx_ir.Model, value: onnx_ir.Value) -> list[onnx_ir.Value]:
    """Return the graph's inputs that `value` depends on."""
    inputs = {id(one): one for one in graph.graph.inputs if not one.is_initializer()}
    seen, waiting, found = set(), [value], []
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if id(one) in inputs:
            found.append(one)
        elif (node := one.producer()) is not None:
            waiting.extend(source for source in node.inputs if source is not None)
    return found


def _fed(value: onnx_ir.Value, tokens: int, past: int) -> np.ndarray:
    name = str(value.name)
    if name.startswith(PAST):
        assert value.shape is not None
        return np.zeros([1, value.shape[1], past, value.shape[3]], np.float32)  # pyright: ignore[reportArgumentType,reportCallIssue]
    if name == "attention_mask":
        return np.ones((1, past + tokens), np.int64)
    if name == "position_ids":
        return np.arange(past, past + tokens, dtype=np.int64)[None]
    return np.zeros((1, tokens), np.int64)
