"""Multiply once where several layers read the same value: each product of few rows costs a barrier between threads.

1. Layers `MatMul(x, W)` of one `x` whose weights are constants become one layer on the weights side by side.
2. Where the three are the query, key and value of a GroupQueryAttention, it takes the product as it is.
3. Otherwise a Split hands out the parts.

The weights are new tensors, so this is for graphs whose weights are rewritten anyway.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir
from onnx_ir.passes import common


def pack_layers(graph: onnx_ir.Model) -> None:
    """Join layers of one input, in place; the head, which is large by itself, stays."""
    for layers in list(_groups(graph.graph)):
        _join(graph.graph, layers)
    common.RemoveUnusedNodesPass()(graph)


def _groups(graph: onnx_ir.Graph) -> Iterator[list[onnx_ir.Node]]:
    by_input: dict[int, list[onnx_ir.Node]] = {}
    for node in graph:
        if node.op_type == "MatMul" and node.inputs[0] is not None and _weight(node) is not None:
            by_input.setdefault(id(node.inputs[0]), []).append(node)
    yield from (nodes for nodes in by_input.values() if len(nodes) > 1)


def _weight(node: onnx_ir.Node) -> np.ndarray | None:
    """Return the constant [inputs, outputs] that a layer multiplies by."""
    value = node.inputs[1]
    if value is None or not value.is_initializer() or value.const_value is None or len(value.const_value.shape) != 2:
        return None
    return value.const_value.numpy()


def _join(graph: onnx_ir.Graph, layers: Sequence[onnx_ir.Node]) -> None:
    attention = _attention(layers)
    if attention is not None:
        layers = [next(n for n in layers if n.outputs[0] is value) for value in attention.inputs[:3]]
    weights = [weight for node in layers if (weight := _weight(node)) is not None]
    packed = np.concatenate(weights, axis=1)
    name = f"packed.{layers[0].outputs[0].name}"
    weight = onnx_ir.Value(
        name=f"{name}.weight",
        shape=onnx_ir.Shape(packed.shape),
        type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT),
        const_value=onnx_ir.tensor(packed, name=f"{name}.weight"),
    )
    graph.register_initializer(weight)
    product = onnx_ir.node("MatMul", [layers[0].inputs[0], weight], num_outputs=1, name=name)
    first = layers[0].outputs[0]
    product.outputs[0].name, product.outputs[0].type = name, first.type
    if first.shape is not None:
        product.outputs[0].shape = onnx_ir.Shape([*first.shape[:-1], packed.shape[1]])
    new = [product]
    if attention is not None:
        attention.replace_input_with(0, product.outputs[0])
        attention.replace_input_with(1, None)
        attention.replace_input_with(2, None)
    else:
        new += _split(graph, product.outputs[0], layers, [weight.shape[1] for weight in weights])
    graph.insert_before(min(layers, key=graph.index), new)


def _attention(layers: Sequence[onnx_ir.Node]) -> onnx_ir.Node | None:
    """Return the attention that reads these three layers, and nothing else does, as query, key and value."""
    readers = [use.node for node in layers for use in node.outputs[0].uses()]
    one = readers[0] if len(layers) == 3 and len(readers) == 3 else None
    if one is None or one.op_type != "GroupQueryAttention" or any(reader is not one for reader in readers):
        return None
    return one if all(value is not None for value in one.inputs[:3]) else None


def _split(
    graph: onnx_ir.Graph, value: onnx_ir.Value, layers: Sequence[onnx_ir.Node], sizes: Sequence[int]
) -> list[onnx_ir.Node]:
    lengths = onnx_ir.Value(
        name=f"{value.name}.sizes",
        shape=onnx_ir.Shape([len(sizes)]),
        type=onnx_ir.TensorType(onnx_ir.DataType.INT64),
        const_value=onnx_ir.tensor(np.array(sizes, np.int64), name=f"{value.name}.sizes"),
    )
    graph.register_initializer(lengths)
    split = onnx_ir.node("Split", [value, lengths], attributes={"axis": -1}, num_outputs=len(sizes))
    for output, node in zip(split.outputs, layers, strict=True):
        old = node.outputs[0]
        output.shape, output.type = old.shape, old.type
        onnx_ir.convenience.replace_all_uses_with(old, output)
    return [split]
