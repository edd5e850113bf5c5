"""The keys and values of cross attention: computed once by a graph of their own, or inside the graph others load.

`merge_cross_attention`:
1. The step graph reads keys and values of cross attention from its cache; other loaders expect the graph to make them
   on the first call, when `use_cache_branch` is false.
2. An `If` chooses between what the cache holds and what `encoder_hidden_states` gives; nothing else is doubled.
3. On that first call the rest of the cache is read as empty, whatever a loader puts there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import tape

from ....runtime.graphs.signature import BRANCH, CROSS, PAST, PRESENT, STATES
from ..reading.constants import whole_numbers

_TO_THE_END = np.iinfo(np.int64).max
_FLOAT = onnx_ir.TensorType(onnx_ir.DataType.FLOAT)


@dataclass(frozen=True)
class Projection:
    """A linear layer whose output, cut into heads, is one tensor of the cache: `weight` is [width, heads * size]."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    heads: int


def split_cross_attention(step: onnx_ir.Model, projections: Sequence[Projection]) -> onnx_ir.Model:
    """Return the graph from `encoder_hidden_states` [batch, encoder_sequence, width] to `present.N.encoder.*`.

    Its versions are those of the step graph, which reads what it gives.
    """
    states = _value(STATES, ["batch", "encoder_sequence", projections[0].weight.shape[0]])
    outputs, initializers, new = [], [], tape.Tape()
    for projection in projections:
        made, weights = _projected(new, states, projection)
        made.name = f"{PRESENT}{projection.name}"
        size = projection.weight.shape[1] // projection.heads
        made.shape, made.type = onnx_ir.Shape(["batch", projection.heads, "encoder_sequence", size]), _FLOAT
        outputs.append(made)
        initializers.extend(weights)
    graph = onnx_ir.Graph(
        [states],
        outputs,
        nodes=list(new.nodes),
        initializers=initializers,
        opset_imports={"": step.graph.opset_imports[""]},
        name="cross_attention",
    )
    return onnx_ir.Model(graph, ir_version=step.ir_version, producer_name="vitrify")


def _projected(
    new: tape.Tape, states: onnx_ir.Value, projection: Projection
) -> tuple[onnx_ir.Value, list[onnx_ir.Value]]:
    weights = [_initializer(f"{projection.name}.weight", projection.weight)]
    made = new.op("MatMul", [states, weights[0]])
    if projection.bias is not None:
        weights.append(_initializer(f"{projection.name}.bias", projection.bias))
        made = new.op("Add", [made, weights[1]])
    size = projection.weight.shape[1] // projection.heads
    cut = new.op("Reshape", [made, whole_numbers(new, [0, 0, projection.heads, size])])
    return new.op("Transpose", [cut], attributes={"perm": [0, 2, 1, 3]}), weights


def merge_cross_attention(step: onnx_ir.Model, projections: Sequence[Projection]) -> onnx_ir.Model:
    """Return the graph that other loaders know: the step graph, which first computes its cross attention."""
    model = step.clone()
    graph = model.graph
    inputs = {str(value.name): value for value in graph.inputs}
    if STATES not in inputs:
        inputs[STATES] = _value(STATES, ["batch", "encoder_sequence", projections[0].weight.shape[0]])
        graph.inputs.append(inputs[STATES])
    branch = onnx_ir.Value(name=BRANCH, shape=onnx_ir.Shape([1]), type=onnx_ir.TensorType(onnx_ir.DataType.BOOL))
    graph.inputs.append(branch)
    new = tape.Tape()
    _empty_unless(new, branch, [value for name, value in inputs.items() if _is_self(name)])
    cached = [inputs[f"{PAST}{projection.name}"] for projection in projections]
    then_branch = _branch("cached", *_identities(cached))
    else_branch, weights = _computed(inputs[STATES], projections)
    chosen = onnx_ir.node(
        "If",
        [new.op("Reshape", [branch, whole_numbers(new, [])])],
        attributes={"then_branch": then_branch, "else_branch": else_branch},
        num_outputs=len(cached),
    )
    for value, output, projection in zip(cached, chosen.outputs, projections, strict=True):
        inside = {id(node) for node in then_branch}
        for node, index in list(value.uses()):
            if id(node) not in inside:
                node.replace_input_with(index, output)
        output.name = f"{PRESENT}{projection.name}"
        output.shape, output.type = value.shape, value.type
        graph.outputs.append(output)
    for weight in weights:
        graph.register_initializer(weight)
    first = graph[0]
    graph.insert_before(first, [*new.nodes, chosen])
    return model


def _empty_unless(new: tape.Tape, branch: onnx_ir.Value, values: Sequence[onnx_ir.Value]) -> None:
    """Let every reader of `values` see zero tokens of them where `branch` is false."""
    limit = new.op("Mul", [new.op("Cast", [branch], attributes={"to": 7}), whole_numbers(new, [_TO_THE_END])])
    bounds = whole_numbers(new, [0]), limit, whole_numbers(new, [2])
    for value in values:
        readers = list(value.uses())
        cut = new.op("Slice", [value, *bounds])
        for node, index in readers:
            node.replace_input_with(index, cut)


def _is_self(name: str) -> bool:
    return name.startswith(PAST) and CROSS not in name


def _identities(values: Sequence[onnx_ir.Value]) -> tuple[list[onnx_ir.Node], list[onnx_ir.Value]]:
    nodes = [onnx_ir.node("Identity", [value]) for value in values]
    return nodes, [node.outputs[0] for node in nodes]


def _computed(states: onnx_ir.Value, projections: Sequence[Projection]) -> tuple[onnx_ir.Graph, list[onnx_ir.Value]]:
    new, outputs, weights = tape.Tape(), [], []
    for projection in projections:
        made, own = _projected(new, states, projection)
        outputs.append(made)
        weights.extend(own)
    return _branch("computed", list(new.nodes), outputs), weights


def _branch(name: str, nodes: Sequence[onnx_ir.Node], outputs: Sequence[onnx_ir.Value]) -> onnx_ir.Graph:
    # Names of a branch must differ from those around it.
    for index, value in enumerate(value for node in nodes for value in node.outputs):
        value.name = f"{name}.{index}"
    for value in outputs:
        value.type, value.shape = _FLOAT, onnx_ir.Shape([None, None, None, None])
    return onnx_ir.Graph([], outputs, nodes=nodes, name=name)


def _value(name: str, shape: Sequence[str | int]) -> onnx_ir.Value:
    return onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=_FLOAT)


def _initializer(name: str, array: np.ndarray) -> onnx_ir.Value:
    tensor = onnx_ir.tensor(np.ascontiguousarray(array), name=name)
    return onnx_ir.Value(name=name, shape=onnx_ir.Shape(array.shape), type=_FLOAT, const_value=tensor)
