"""Attention that a model writes out by itself becomes opset 23's `Attention`: the form that other passes know.

1. `Softmax(scores) x V` becomes one operator, where the scores are `Q x K^T`, scaled by constants.
2. A soft cap, `cap * Tanh(scores / cap)`, and the masks after it, added or chosen by a condition, go into it.
3. What has another form stays as it is: biases before a scale, heads folded into the batch, sinks.
"""

from dataclasses import dataclass, replace

import onnx_ir
from onnx_ir import tape

from ..reading.producers import made_by

_SWAPPED = [0, 1, 3, 2]
_FLOAT = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)


@dataclass(frozen=True)
class _Scores:
    """What stands before a Softmax, read from the product outwards."""

    query: onnx_ir.Value
    key: onnx_ir.Value
    scale: float = 1.0
    cap: float = 0.0
    added: tuple[onnx_ir.Value, ...] = ()
    chosen: tuple[tuple[onnx_ir.Value, onnx_ir.Value], ...] = ()

    @property
    def is_masked(self) -> bool:
        return bool(self.added or self.chosen)


def compose_attention(graph: onnx_ir.Model) -> None:
    """Replace every attention that is written out, in place; its nodes stay for a pass that removes them."""
    for node in list(graph.graph):
        if node.op_type != "Softmax" or node.attributes.get_int("axis", -1) not in {-1, 3}:
            continue
        scores, product = _scores(node.inputs[0]), _weighted(node.outputs[0])
        if scores is not None and product is not None:
            _replace(graph.graph, scores, product)


def _weighted(value: onnx_ir.Value) -> onnx_ir.Node | None:
    """Return the product of the weights with the values, or None."""
    uses = list(value.uses())
    node = uses[0].node if len(uses) == 1 else None
    if node is not None and node.op_type == "Cast":
        return _weighted(node.outputs[0])
    is_product = node is not None and node.op_type == "MatMul" and node.inputs[0] is value
    shape = node.outputs[0].shape if node is not None and is_product else None
    return node if shape is not None and len(shape) == 4 else None


def _scores(value: onnx_ir.Value | None) -> _Scores | None:
    """Read scores up to the product of queries and keys, or return None where they are something else."""
    node = value.producer() if value is not None else None
    if node is None:
        return None
    match node.op_type:
        case "MatMul":
            return _product(node)
        case "Cast":
            return _scores(node.inputs[0])
        case "Mul" | "Div":
            return _capped(node) or _scaled(node)
        case "Add":
            return _with_mask(node, 0, 1) or _with_mask(node, 1, 0)
        case "Where":
            condition, scores, lowest = node.inputs[0], _scores(node.inputs[1]), node.inputs[2]
            return replace(scores, chosen=(*scores.chosen, (condition, lowest))) if scores else None
    return None


def _product(node: onnx_ir.Node) -> _Scores | None:
    query, swapped = node.inputs[0], made_by(node.inputs[1], "Transpose")
    key = swapped.inputs[0] if swapped is not None else None
    if query is None or swapped is None or key is None or list(swapped.attributes["perm"].as_ints()) != _SWAPPED:
        return None
    return _Scores(query, key)


def _scaled(node: onnx_ir.Node) -> _Scores | None:
    factor, scores = _number(node.inputs[1]), _scores(node.inputs[0])
    if factor is None or scores is None or scores.cap or scores.is_masked:
        return None
    return replace(scores, scale=scores.scale * (factor if node.op_type == "Mul" else 1 / factor))


def _capped(node: onnx_ir.Node) -> _Scores | None:
    cap, bent = _number(node.inputs[1]), made_by(node.inputs[0], "Tanh")
    shrunk = made_by(bent.inputs[0], "Div") if bent is not None else None
    if node.op_type != "Mul" or shrunk is None or _number(shrunk.inputs[1]) != cap:
        return None
    scores = _scores(shrunk.inputs[0])
    return replace(scores, cap=cap) if cap and scores and not (scores.cap or scores.is_masked) else None


def _with_mask(node: onnx_ir.Node, side: int, other: int) -> _Scores | None:
    scores, mask = _scores(node.inputs[side]), node.inputs[other]
    return replace(scores, added=(*scores.added, mask)) if scores and mask is not None else None


def _number(value: onnx_ir.Value | None) -> float | None:
    tensor = onnx_ir.convenience.get_const_tensor(value) if value is not None else None
    return float(tensor.numpy().reshape(-1)[0]) if tensor is not None and tensor.size == 1 else None


def _replace(graph: onnx_ir.Graph, scores: _Scores, product: onnx_ir.Node) -> None:
    output, new = product.outputs[0], tape.Tape()
    masks = list(scores.added)
    for condition, lowest in scores.chosen:
        zero = new.op("Constant", [], attributes={"value_float": 0.0})
        masks.append(new.op("Where", [condition, zero, lowest]))
    inputs = [scores.query, scores.key, product.inputs[1]]
    if masks:
        mask = masks[0]
        for more in masks[1:]:
            mask = new.op("Add", [mask, more])
        mask.name, mask.type = mask.name or f"{output.name}.mask", _FLOAT
        inputs.append(mask)
    made = new.op("Attention", inputs, attributes={"scale": scores.scale, "softcap": scores.cap})
    made.shape, made.type, made.name = output.shape, output.type, f"{output.name}.attention"
    graph.insert_before(product, list(new.nodes))
    onnx_ir.convenience.replace_all_uses_with(output, made)
