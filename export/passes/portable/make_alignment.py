"""What a decoder's cross attention looks at, in the heads that follow the audio: where in it each token was heard.

1. All tokens run in one pass: the cache of earlier tokens is read as empty and is no input any more.
2. A cross attention is an `Attention` node whose keys are an input, `past_key_values.N.encoder.key`.
3. For the heads asked for, `Softmax(Q x K^T * scale)` is written out; nothing else of the graph is kept.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir
from onnx_ir import tape
from onnx_ir.passes import common

from ....runtime.errors import ExportError
from ....runtime.graphs.signature import CROSS, PAST
from ..reading.constants import whole_numbers

OUTPUT = "cross_attentions"
_FLOAT = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)


def make_alignment(step: onnx_ir.Model, heads: Sequence[tuple[int, int]]) -> onnx_ir.Model:
    """Return the graph from tokens and `past_key_values.N.encoder.*` to `cross_attentions`.

    `heads` are (layer, head); the output is float32 [batch, heads, sequence, encoder_sequence], in their order. `step`
    is a decoder of one step, whose attention is not written out yet, and stays as it is.
    """
    model = step.clone()
    graph = model.graph
    layers = sorted({layer for layer, _ in heads})
    order = [head for layer in layers for head in heads if head[0] == layer]
    parts = [_looked_at(graph, layer, [head for of, head in order if of == layer]) for layer in layers]
    new = tape.Tape()
    found = new.op("Concat", parts, attributes={"axis": 1})
    if order != list(heads):
        found = new.op(
            "Gather", [found, whole_numbers(new, [order.index(head) for head in heads])], attributes={"axis": 1}
        )
    found.name, found.type = OUTPUT, _FLOAT
    found.shape = onnx_ir.Shape(["batch", len(heads), "sequence", "encoder_sequence"])
    graph.extend(new.nodes)
    graph.outputs.clear()
    graph.outputs.append(found)
    _forget_past(graph)
    common.RemoveUnusedNodesPass()(model)
    kept = [value for value in graph.inputs if value.uses()]
    graph.inputs.clear()
    graph.inputs.extend(kept)
    common.RemoveUnusedNodesPass()(model)  # values of inputs that are gone
    return model


def _looked_at(graph: onnx_ir.Graph, layer: int, heads: Sequence[int]) -> onnx_ir.Value:
    """Return the attention weights [batch, heads, sequence, encoder_sequence] of some heads of one layer."""
    node = _cross_attention(graph, layer)
    query, key = node.inputs[:2]
    assert query is not None
    assert query.shape is not None
    scale = node.attributes.get_float("scale", 0.0) or float(query.shape[-1]) ** -0.5  # pyright: ignore[reportArgumentType]
    new = tape.Tape()
    chosen = whole_numbers(new, list(heads))
    query, key = (new.op("Gather", [value, chosen], attributes={"axis": 1}) for value in (query, key))
    factor = new.op("Constant", [], attributes={"value": onnx_ir.tensor(np.array(scale, np.float32))})
    turned = new.op("Transpose", [key], attributes={"perm": [0, 1, 3, 2]})
    scores = new.op("MatMul", [new.op("Mul", [query, factor]), turned])
    weights = new.op("Softmax", [scores], attributes={"axis": -1})
    graph.insert_before(node, list(new.nodes))
    return weights


def _cross_attention(graph: onnx_ir.Graph, layer: int) -> onnx_ir.Node:
    keys = next((value for value in graph.inputs if value.name == f"{PAST}{layer}{CROSS}key"), None)
    nodes = [node for node, index in keys.uses() if node.op_type == "Attention" and index == 1] if keys else []
    if len(nodes) != 1 or (len(nodes[0].inputs) > 3 and nodes[0].inputs[3] is not None):
        raise ExportError(f"alignment_heads names layer {layer}, whose cross attention is not of the form known here")
    return nodes[0]


def _forget_past(graph: onnx_ir.Graph) -> None:
    """Let every reader of the cache of earlier tokens see zero tokens."""
    tokens = next(value for value in graph.inputs if value.name == "input_ids")
    for value in graph.inputs:
        if not str(value.name).startswith(PAST) or CROSS in str(value.name):
            continue
        assert value.shape is not None
        new = tape.Tape()
        rows = new.op("Shape", [tokens], attributes={"start": 0, "end": 1})
        rest = whole_numbers(new, [int(value.shape[1]), 0, int(value.shape[3])])  # pyright: ignore[reportArgumentType]
        empty = new.op("ConstantOfShape", [new.op("Concat", [rows, rest], attributes={"axis": 0})])
        onnx_ir.convenience.replace_all_uses_with(value, empty)
        graph.insert_before(graph[0], list(new.nodes))
