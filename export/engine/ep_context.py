"""An ONNX graph around an engine: one `EPContext` node, which ONNX Runtime's plugin for TensorRT-RTX loads as it is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir

from ...runtime.bundle.engines import FOLDER, SUFFIX, Engine
from ...runtime.errors import UsageError
from ...runtime.graphs.signature import Tensor

_PROVIDER = "NvTensorRTRTXExecutionProvider"
_OPSET, _IR_VERSION = 20, 10


def write_ep_context(engine: Engine, folder: Path) -> str:
    """Write the graph beside the engine in a bundle's folder and return its name there; the engine stays its own file.

    Raises UsageError for an engine that the plugin cannot load: one of another builder, or without weights.
    """
    if engine.builder != "tensorrt-rtx":
        raise UsageError(f"--ep-context: the plugin loads engines of tensorrt-rtx, this one is of {engine.builder}")
    if engine.is_stripped:
        raise UsageError("--ep-context: the plugin finds no weights for an engine that was built with --stripped")
    inputs = _values(engine.inputs)
    node = onnx_ir.node(
        "EPContext",
        inputs,
        {
            "main_context": 1,
            "embed_mode": 0,
            "ep_cache_context": f"{engine.name}{SUFFIX}",
            "source": _PROVIDER,
            "partition_name": engine.name,
        },
        domain="com.microsoft",
        num_outputs=len(engine.outputs),
        name=engine.name,
    )
    for value, tensor in zip(node.outputs, engine.outputs, strict=True):
        _describe(value, tensor)
    graph = onnx_ir.Graph(
        inputs, node.outputs, nodes=[node], name=engine.name, opset_imports={"": _OPSET, "com.microsoft": 1}
    )
    name = f"{FOLDER}/{engine.name}.onnx"
    onnx_ir.save(onnx_ir.Model(graph, ir_version=_IR_VERSION, producer_name="vitrify"), folder / name)
    return name


def _values(tensors: Sequence[Tensor]) -> list[onnx_ir.Value]:
    values = [onnx_ir.Value(name=tensor.name) for tensor in tensors]
    for value, tensor in zip(values, tensors, strict=True):
        _describe(value, tensor)
    return values


def _describe(value: onnx_ir.Value, tensor: Tensor) -> None:
    kind = (
        onnx_ir.DataType.BFLOAT16 if tensor.dtype == "bfloat16" else onnx_ir.DataType.from_numpy(np.dtype(tensor.dtype))
    )
    value.name, value.type, value.shape = tensor.name, onnx_ir.TensorType(kind), onnx_ir.Shape(tensor.axes)
