"""Root mean square norms become one operator of ONNX Runtime, with the sum before them where there is one.

1. `weight * (x * (1 / sqrt(mean(x ** 2) + epsilon)))` becomes SimplifiedLayerNormalization.
2. Where `x` is the sum of two values, the sum goes into it too: SkipSimplifiedLayerNormalization gives both.
"""

import numpy as np
import onnx_ir

from ..reading.producers import made_by

_DOMAIN = "com.microsoft"


def fuse_norms(graph: onnx_ir.Model) -> None:
    """Replace every such norm, in place; what is no longer used stays for a pass that removes it."""
    for node in list(graph.graph):
        if node.op_type == "Mul" and (found := _matched(node)):
            _replace(graph.graph, node, *found)
    graph.graph.opset_imports[_DOMAIN] = 1


def _matched(node: onnx_ir.Node) -> tuple[onnx_ir.Value, onnx_ir.Value, float] | None:
    """Return (x, weight, epsilon) of the norm that ends in `node`, or None."""
    for weight, scaled in (node.inputs, reversed(node.inputs)):
        product = made_by(scaled, "Mul")
        if product is None or weight is None or weight.shape is None or len(weight.shape) != 1:
            continue
        value, inverse = product.inputs
        root = made_by(_input(made_by(inverse, "Reciprocal")), "Sqrt")
        total = made_by(_input(root), "Add")
        mean = made_by(_input(total), "ReduceMean")
        square = made_by(_input(mean), "Pow")
        if value is None or square is None or square.inputs[0] is not value:
            continue
        epsilon, power = _number(total.inputs[1] if total else None), _number(square.inputs[1])
        axes = onnx_ir.convenience.get_const_tensor(mean.inputs[1]) if mean and mean.inputs[1] else None
        if epsilon is not None and power == 2 and axes is not None and axes.numpy().tolist() in ([-1], [2]):
            return value, weight, epsilon
    return None


def _replace(
    graph: onnx_ir.Graph, node: onnx_ir.Node, value: onnx_ir.Value, weight: onnx_ir.Value, epsilon: float
) -> None:
    total = made_by(value, "Add")
    terms = list(total.inputs) if total else []
    if total is not None and weight.is_initializer() and all(_is_hidden(term) for term in terms):
        fused = onnx_ir.node(
            "SkipSimplifiedLayerNormalization",
            [*terms, weight],
            domain=_DOMAIN,
            attributes={"epsilon": epsilon},
            num_outputs=4,
        )
        # Where the sum stood, for what reads it may stand before the norm.
        graph.insert_after(total, fused)
        _name(fused.outputs[3], value)
        onnx_ir.convenience.replace_all_uses_with(value, fused.outputs[3])
    else:
        fused = onnx_ir.node(
            "SimplifiedLayerNormalization", [value, weight], attributes={"axis": -1, "epsilon": epsilon}, num_outputs=1
        )
        graph.insert_before(node, fused)
    _name(fused.outputs[0], node.outputs[0])
    onnx_ir.convenience.replace_all_uses_with(node.outputs[0], fused.outputs[0])


def _is_hidden(value: onnx_ir.Value | None) -> bool:
    """Tell whether a value is [batch, sequence, width]."""
    return value is not None and value.shape is not None and len(value.shape) == 3


def _name(new: onnx_ir.Value, old: onnx_ir.Value) -> None:
    new.shape, new.type = old.shape, old.type


def _input(node: onnx_ir.Node | None) -> onnx_ir.Value | None:
    return node.inputs[0] if node is not None else None


def _number(value: onnx_ir.Value | None) -> float | None:
    tensor = onnx_ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or tensor.size != 1:
        return None
    return float(np.asarray(tensor.numpy()).reshape(-1)[0])
