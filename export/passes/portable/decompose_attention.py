"""Write opset 23's `Attention` out in operators that every opset has: what a portable graph for older runtimes needs.

1. `Attention(Q, K, V, mask)` on 4-D inputs becomes `Softmax(Q x K^T * scale + mask) x V`; the scale goes to Q.
2. A soft cap becomes `cap * Tanh(scores / cap)` before the mask.
3. What the tracer never writes (3-D inputs, a past, causal flags, several outputs) is an error, not a guess.
"""

import numpy as np
import onnx_ir
from onnx_ir import tape

from ....runtime.errors import ExportError

# From this opset on a tracer keeps scaled dot product attention one operator, which passes can recognize.
ATTENTION_OPSET = 23


def decompose_attention(graph: onnx_ir.Model) -> None:
    """Replace every `Attention` node, in place."""
    for node in list(graph.graph):
        if node.op_type == "Attention" and node.domain == "":
            _check(node)
            _replace(graph.graph, node)


def _check(node: onnx_ir.Node) -> None:
    plain = (
        not node.attributes.get_int("is_causal", 0)
        and not node.attributes.get_int("q_num_heads", 0)
        and not any(node.inputs[4:])
        and not any(output.uses() for output in node.outputs[1:])
    )
    if not plain:
        raise ExportError(f"attention node '{node.name}' has a form that vitrify does not write out")


def _replace(graph: onnx_ir.Graph, node: onnx_ir.Node) -> None:
    query, key, value = node.inputs[:3]
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    assert query is not None
    assert query.shape is not None
    width = query.shape[-1]
    scale = node.attributes.get_float("scale", 0.0) or float(width) ** -0.5  # pyright: ignore[reportArgumentType]
    cap = node.attributes.get_float("softcap", 0.0)
    new = tape.Tape()
    scaled = new.op("Mul", [query, _scalar(new, scale)])
    scores = new.op("MatMul", [scaled, new.op("Transpose", [key], attributes={"perm": [0, 1, 3, 2]})])
    if cap:
        limit = _scalar(new, cap)
        scores = new.op("Mul", [new.op("Tanh", [new.op("Div", [scores, limit])]), limit])
    if mask is not None:
        scores = new.op("Add", [scores, mask])
    result = new.op("MatMul", [new.op("Softmax", [scores], attributes={"axis": -1}), value])
    output = node.outputs[0]
    result.shape, result.type, result.name = output.shape, output.type, output.name
    graph.insert_before(node, list(new.nodes))
    onnx_ir.convenience.replace_all_uses_with(output, result)
    graph.remove(node, safe=True)


def _scalar(new: tape.Tape, number: float) -> onnx_ir.Value:
    return new.op("Constant", [], attributes={"value": onnx_ir.tensor(np.array(number, np.float32))})
