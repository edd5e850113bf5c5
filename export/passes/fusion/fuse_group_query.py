"""Attention with its cache becomes one `GroupQueryAttention`, which writes keys and values where they stay.

1. An `Attention` whose keys and values are `present.N.*`, a past with new ones after it, becomes a GroupQueryAttention
   on the new ones and the past; repeated heads are what it shares by itself.
2. A rotation of queries and keys by tables of sines goes into it, of whole heads or of their first part, where both
   halves turn together and the kernel takes such heads; the tables are what the graph computes for each position.
3. What a mask lets through is measured, not recognized: everything before a token, or a window of so many tokens.
   Another mask (a bias by distance, chunks) is not for this operator, and `fuse_group_query` says so.
4. `attention_mask` goes; `seqlens_k` and `total_sequence_length` say how many tokens each row holds. A graph that reads
   it, or the cache, for anything else cannot be fused.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import tape
from onnx_ir.passes import common

from ....runtime.graphs.signature import CAPACITY, PAST, POSITIONS, SEQLENS, TOKENS, TOTAL
from ..portable.drop_unused_inputs import drop_unused_inputs
from ..portable.keep_last_logits import INPUT as KEPT
from ..reading.constants import whole_numbers
from ..reading.producers import made_by
from ..reading.rotation import Rotation, find_rotation, position_tables
from ..reading.window import visible_tokens
from ..running import Refusal

_DOMAIN = "com.microsoft"
_HEADS_FIRST = [0, 2, 1, 3]
# The inputs that a fused graph has beside its cache.
_KNOWN = frozenset({TOKENS, POSITIONS, SEQLENS, TOTAL, KEPT})
# What sizes are multiples of in ONNX Runtime's kernel: a head, one that it rotates, half of what it rotates.
_HEAD, _TURNED_HEAD, _TURNED_HALF = 8, 16, 8
# What stands between the cache and an Attention that has more queries' heads than keys'.
_REPEATS = frozenset({"Slice", "Unsqueeze", "Expand", "Reshape"})
_Tables = tuple[onnx_ir.Value, onnx_ir.Value]


@dataclass(frozen=True)
class _Layer:
    """One attention and the new keys and values that it appends to its past."""

    attention: onnx_ir.Node
    key: onnx_ir.Node
    value: onnx_ir.Node


def fuse_group_query(graph: onnx_ir.Model, *, positions: int) -> None:
    """Replace every attention, in place; raise Refusal, with the graph half done, where that cannot be.

    `positions` is how many tokens a row may hold.
    """
    layers = list(_layers(graph.graph))
    if not layers:
        raise Refusal("no attention has a form that is known")
    windows = {mask: visible_tokens(graph, mask, positions) for mask in {_mask(layer) for layer in layers}}
    tables: dict[tuple[onnx_ir.Value, onnx_ir.Value], _Tables | None] = {}
    lengths = [_input(graph.graph, SEQLENS, ["batch"]), _input(graph.graph, TOTAL, [])]
    for layer in layers:
        query, key, turns = layer.attention.inputs[0], layer.key.inputs[1], None
        turned = find_rotation(query), find_rotation(key)
        if turned[0] and turned[1] and (angles := turned[0].angles) == turned[1].angles:
            if angles not in tables:
                tables[angles] = _tables(graph, turned[0], positions)
            turns = tables[angles]
            if turns:
                query, key = turned[0].value, turned[1].value
        _replace(graph.graph, layer, query, key, turns, lengths, windows[_mask(layer)])
    common.RemoveUnusedNodesPass()(graph)
    drop_unused_inputs(graph)
    _check_readers(graph.graph)
    graph.graph.opset_imports[_DOMAIN] = 1
    for value in graph.graph.inputs:
        if str(value.name).startswith(PAST):
            assert value.shape is not None
            value.shape = onnx_ir.Shape([*value.shape[:2], CAPACITY, *value.shape[3:]])


def _tables(graph: onnx_ir.Model, rotation: Rotation, positions: int) -> _Tables | None:
    """Return the tables of a rotation as weights of the graph, or None if the kernel cannot rotate by them."""
    made = position_tables(graph, rotation, positions)
    if made is None or made[0].shape[1] % _TURNED_HALF or _size(rotation.value) % _TURNED_HEAD:
        return None
    name = f"table.{rotation.cos.name}"
    return _constant(graph.graph, f"cos_{name}", made[0]), _constant(graph.graph, f"sin_{name}", made[1])


def _layers(graph: onnx_ir.Graph) -> Iterator[_Layer]:
    for node in graph:
        if node.op_type == "Attention" and node.domain == "":
            yield _Layer(node, _appended(node.inputs[1]), _appended(node.inputs[2]))


def _check_readers(graph: onnx_ir.Graph) -> None:
    """Raise Refusal if what remains reads an input that says nothing any more: the mask, or the cache's size."""
    for value in graph.inputs:
        name = str(value.name)
        fused = name.startswith(PAST) and all(use.node.op_type == "GroupQueryAttention" for use in value.uses())
        if not fused and name not in _KNOWN:
            raise Refusal(f"the graph reads '{name}' for something else than its attention")


def _appended(value: onnx_ir.Value | None) -> onnx_ir.Node:
    """Return the Concat of a past and what is new behind an attention's keys or values."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _REPEATS:
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    past = node.inputs[0] if node is not None and node.op_type == "Concat" else None
    if node is None or past is None or not str(past.name).startswith(PAST):
        raise Refusal("keys or values do not come straight from the cache")
    return node


def _mask(layer: _Layer) -> onnx_ir.Value | None:
    return layer.attention.inputs[3] if len(layer.attention.inputs) > 3 else None


def _replace(
    graph: onnx_ir.Graph,
    layer: _Layer,
    query: onnx_ir.Value | None,
    key: onnx_ir.Value | None,
    tables: _Tables | None,
    lengths: list[onnx_ir.Value],
    window: int,
) -> None:
    attention, value, new = layer.attention, layer.value.inputs[1], tape.Tape()
    heads, size = _heads(query), _size(query)
    if size % _HEAD or _size(value) != size:
        raise Refusal(f"heads of {size} and {_size(value)} are not sizes that the kernel supports")
    inputs = [_flat(new, side) for side in (query, key, value)]
    fused = onnx_ir.node(
        "GroupQueryAttention",
        [*inputs, layer.key.inputs[0], layer.value.inputs[0], *lengths, *(tables or ())],
        domain=_DOMAIN,
        attributes={
            "num_heads": heads,
            "kv_num_heads": _heads(key),
            "scale": attention.attributes.get_float("scale", 0.0) or 1 / math.sqrt(size),
            "softcap": attention.attributes.get_float("softcap", 0.0),
            "local_window_size": window,
            "do_rotary": int(tables is not None),
        },
        num_outputs=3,
        name=f"attention.{attention.name}",
    )
    graph.insert_before(attention, [*new.nodes, fused])
    for output, node in zip(fused.outputs[1:], (layer.key, layer.value), strict=True):
        _take_over(graph, node.outputs[0], output)
    output = _unmasked(attention.outputs[0])
    after = _flattened(output)
    if after is not None:
        onnx_ir.convenience.replace_all_uses_with(after, fused.outputs[0])
        return
    back = tape.Tape()
    cut = back.op("Reshape", [fused.outputs[0], whole_numbers(back, [0, 0, heads, size])])
    whole = back.op("Transpose", [cut], attributes={"perm": _HEADS_FIRST})
    graph.insert_before(attention, list(back.nodes))
    onnx_ir.convenience.replace_all_uses_with(output, whole)


def _take_over(graph: onnx_ir.Graph, old: onnx_ir.Value, new: onnx_ir.Value) -> None:
    """Make `new` the graph output that `old` was."""
    name, new.type = str(old.name), old.type
    assert old.shape is not None
    new.shape = onnx_ir.Shape([old.shape[0], old.shape[1], CAPACITY, old.shape[3]])
    old.name = f"{name}.grown"
    new.name = name
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new


def _heads(value: onnx_ir.Value | None) -> int:
    assert value is not None
    assert value.shape is not None
    return int(value.shape[1])  # pyright: ignore[reportArgumentType]


def _size(value: onnx_ir.Value | None) -> int:
    assert value is not None
    assert value.shape is not None
    return int(value.shape[3])  # pyright: ignore[reportArgumentType]


def _flat(new: tape.Tape, value: onnx_ir.Value | None) -> onnx_ir.Value:
    """Return [batch, heads, tokens, size] as [batch, tokens, heads * size], by undoing what made it if that is so."""
    assert value is not None
    node = made_by(value, "Transpose")
    if node is not None and list(node.attributes["perm"].as_ints()) == _HEADS_FIRST:
        value = node.inputs[0]
        cut = made_by(value, "Reshape")
        source = cut.inputs[0] if cut else None
        if source is not None and source.shape is not None and len(source.shape) == 3:
            return source
    else:
        value = new.op("Transpose", [value], attributes={"perm": _HEADS_FIRST})
    return new.op("Reshape", [value, whole_numbers(new, [0, 0, -1])])


def _unmasked(value: onnx_ir.Value) -> onnx_ir.Value:
    """Return an attention's output behind what the tracer puts after it: zeros for rows without a token, no change."""
    while len(uses := list(value.uses())) == 1:
        node = uses[0].node
        if node.op_type != "Where" and not (node.op_type == "Reshape" and node.outputs[0].shape == value.shape):
            break
        value = node.outputs[0]
    return value


def _flattened(value: onnx_ir.Value) -> onnx_ir.Value | None:
    """Return what the tracer makes of an attention's output: heads after tokens, flat; None if it is something else."""
    for op_type in ("Transpose", "Reshape"):
        uses = list(value.uses())
        if len(uses) != 1 or uses[0].node.op_type != op_type:
            return None
        value = uses[0].node.outputs[0]
    return value if value.shape is not None and len(value.shape) == 3 else None


def _input(graph: onnx_ir.Graph, name: str, shape: list[str]) -> onnx_ir.Value:
    value = onnx_ir.Value(name=name, shape=onnx_ir.Shape(shape), type=onnx_ir.TensorType(onnx_ir.DataType.INT32))
    graph.inputs.append(value)
    return value


def _constant(graph: onnx_ir.Graph, name: str, array: np.ndarray) -> onnx_ir.Value:
    value = onnx_ir.Value(
        name=name,
        shape=onnx_ir.Shape(array.shape),
        type=onnx_ir.TensorType(onnx_ir.DataType.FLOAT),
        const_value=onnx_ir.tensor(array, name=name),
    )
    graph.register_initializer(value)
    return value
