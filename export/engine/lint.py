"""What no TensorRT builder takes, found in the graph before one is asked: each with its node and what to do instead.

1. Operators of ONNX Runtime's own domains: a graph that was fused or quantized for its kernels.
2. Quantization at run time, and zero points that are not zero: engines take symmetric QuantizeLinear pairs only.
3. Inputs and outputs in float64, which a builder would narrow without a word.
"""

from collections.abc import Iterator
from pathlib import Path

import onnx_ir

from ...runtime.errors import UnsupportedError

_DYNAMIC = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"})
_PAIRS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FLOAT64 = onnx_ir.DataType.DOUBLE


def check_graph(path: Path) -> onnx_ir.Model:
    """Return the graph at `path`; raise UnsupportedError naming the first node that no engine can be built from."""
    model = onnx_ir.load(str(path))
    for what in _obstacles(model.graph):
        raise UnsupportedError(f"no engine can be built from '{path.name}': {what}")
    return model


def attention_layers(model: onnx_ir.Model) -> int:
    """Return how many attentions a graph has: products whose weights come from a Softmax, or `Attention` operators."""
    return sum(_is_attention(node) for node in model.graph)


def _is_attention(node: onnx_ir.Node) -> bool:
    if node.op_type != "Softmax":
        return node.op_type == "Attention"
    users = [use.node for use in node.outputs[0].uses()]
    users += [use.node for user in users if user.op_type == "Cast" for use in user.outputs[0].uses()]
    return any(user.op_type == "MatMul" for user in users)


def _obstacles(graph: onnx_ir.Graph) -> Iterator[str]:
    for value in (*graph.inputs, *graph.outputs):
        if value.dtype == _FLOAT64:
            yield f"'{value.name}' is float64, which a builder would narrow: export the model in float32"
    for node in graph:
        named = f"node '{node.name}' ({node.op_type})"
        if node.domain not in {"", "ai.onnx"}:
            yield f"{named} is of '{node.domain}', ONNX Runtime's own: build from a profile of provider tensorrt"
        elif node.op_type in _DYNAMIC:
            yield f"{named} quantizes at run time, which no engine does: use a profile of provider tensorrt"
        elif node.op_type in _PAIRS and _is_asymmetric(node):
            yield f"{named} has a zero point that is not 0: engines support symmetric quantization only"


def _is_asymmetric(node: onnx_ir.Node) -> bool:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = zero.const_value if zero is not None else None
    return tensor is not None and bool(tensor.numpy().any())
