"""Attention with its cache becomes one `GroupQueryAttention`, which writes keys and values where they stay.

1. An `Attention` whose keys and values are `present.N.*`, a past with new ones after it, becomes a GroupQueryAttention
   on the new ones and the past; repeated heads are what it shares by itself.
2. A rotation of queries and keys by tables of sines goes into it, where both halves of a head turn together; the tables
   are what the graph itself computes for each position.
3. What a mask lets through is measured, not recognized: everything before a token, or a window of so many tokens.
   Another mask (a bias by distance, chunks) is not for this operator, and `fuse_attention` says so.
4. `attention_mask` goes; `seqlens_k` and `total_sequence_length` say how many tokens each row holds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import tape
from onnx_ir.passes import common

from .caches import CACHE
from .evaluate import evaluate
from .inputs import drop_unused_inputs

CAPACITY, SEQLENS, TOTAL = "capacity", "seqlens_k", "total_sequence_length"
_DOMAIN = "com.microsoft"
_HEADS_FIRST = [0, 2, 1, 3]
_UNROTATED = (None, None)
# What stands between the cache and an Attention that has more queries' heads than keys'.
_REPEATS = frozenset({"Slice", "Unsqueeze", "Expand", "Reshape"})


class Unfusable(Exception):  # noqa: N818 - an answer, no failure
    """Attention that is not what GroupQueryAttention computes; the reason is the message."""


@dataclass(frozen=True)
class _Rotation:
    """What rotates by position: `value` before it, and the sines as the graph computes them."""

    value: onnx_ir.Value
    cos: onnx_ir.Value
    sin: onnx_ir.Value


@dataclass(frozen=True)
class _Layer:
    """One attention and the new keys and values that it appends to its past."""

    attention: onnx_ir.Node
    key: onnx_ir.Node
    value: onnx_ir.Node


def fuse_attention(graph: onnx_ir.Model, *, positions: int) -> None:
    """Replace every attention, in place; raise Unfusable, with the graph half done, where that cannot be.

    `positions` is how many tokens a row may hold.
    """
    layers = list(_layers(graph.graph))
    windows = {mask: _window(graph, mask, positions) for mask in {_mask(layer) for layer in layers}}
    tables: dict[tuple[onnx_ir.Value, onnx_ir.Value], tuple[onnx_ir.Value, onnx_ir.Value]] = {}
    lengths = [_input(graph.graph, SEQLENS, ["batch"]), _input(graph.graph, TOTAL, [])]
    for layer in layers:
        rotations = _rotation(layer.attention.inputs[0]), _rotation(layer.key.inputs[1])
        turns = None
        if rotations[0] and rotations[1] and rotations[0].cos is rotations[1].cos:
            pair = rotations[0].cos, rotations[0].sin
            if pair not in tables and (made := _tables(graph, *pair, positions)):
                tables[pair] = made
            turns = tables.get(pair)
        sides = [each.value if turns and each else None for each in rotations]
        _replace(graph.graph, layer, sides, turns or _UNROTATED, lengths, windows[_mask(layer)])
    common.RemoveUnusedNodesPass()(graph)
    drop_unused_inputs(graph)
    graph.graph.opset_imports[_DOMAIN] = 1
    for value in graph.graph.inputs:
        if str(value.name).startswith(f"{CACHE}."):
            assert value.shape is not None
            value.shape = onnx_ir.Shape([*value.shape[:2], CAPACITY, *value.shape[3:]])


def _layers(graph: onnx_ir.Graph) -> Iterator[_Layer]:
    for node in graph:
        if node.op_type == "Attention" and node.domain == "":
            yield _Layer(node, _appended(node.inputs[1]), _appended(node.inputs[2]))


def _appended(value: onnx_ir.Value | None) -> onnx_ir.Node:
    """Return the Concat of a past and what is new behind an attention's keys or values."""
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in _REPEATS:
        value = node.inputs[0]
        node = value.producer() if value is not None else None
    past = node.inputs[0] if node is not None and node.op_type == "Concat" else None
    if node is None or past is None or not str(past.name).startswith(f"{CACHE}."):
        raise Unfusable("keys or values do not come straight from the cache")
    return node


def _mask(layer: _Layer) -> onnx_ir.Value | None:
    return layer.attention.inputs[3] if len(layer.attention.inputs) > 3 else None


def _window(graph: onnx_ir.Model, mask: onnx_ir.Value | None, positions: int) -> int:
    """Return how many tokens a mask lets a token see, itself among them, or -1 for all before it."""
    if mask is None:
        raise Unfusable("attention without a mask is not causal")
    seen = []
    for past in (positions - 1, positions // 2, 0):
        row = evaluate(graph, mask, tokens=1, past=past)[0, 0, 0]
        if row.shape != (past + 1,) or (row[row > -1e4] != 0).any():
            raise Unfusable("the mask weighs tokens by their distance")
        visible = row == 0
        count = int(visible.sum())
        if not visible[past + 1 - count :].all():
            raise Unfusable("the mask lets through something else than the last tokens")
        seen.append(count)
    block = evaluate(graph, mask, tokens=4, past=0)[0, 0] == 0
    if np.triu(block, 1).any() or not block.diagonal().all():
        raise Unfusable("the mask is not causal")
    if seen == [positions, positions // 2 + 1, 1]:
        return -1
    if seen[0] in {seen[1], positions // 2 + 1} or seen[1] <= positions // 2 + 1:
        return seen[0]
    raise Unfusable("the mask's window changes with the position")


def _rotation(value: onnx_ir.Value | None) -> _Rotation | None:
    """Recognize x * cos + concat(-x[half:], x[:half]) * sin, with both products written either way round."""
    node = _made_by(value, "Add")
    for direct, crossed in ((0, 1), (1, 0)) if node else ():
        plain, turned = _made_by(node.inputs[direct], "Mul"), _made_by(node.inputs[crossed], "Mul")  # pyright: ignore[reportOptionalMemberAccess]
        if plain is None or turned is None:
            continue
        swapped = _made_by(turned.inputs[0], "Concat")
        if swapped is None or _made_by(swapped.inputs[0], "Neg") is None:
            continue
        negated = _made_by(swapped.inputs[0], "Neg")
        halves = _made_by(negated.inputs[0], "Slice"), _made_by(swapped.inputs[1], "Slice")  # pyright: ignore[reportOptionalMemberAccess]
        source, cos, sin = plain.inputs[0], plain.inputs[1], turned.inputs[1]
        if all(half is not None and half.inputs[0] is source for half in halves) and source and cos and sin:
            return _Rotation(source, cos, sin)
    return None


def _made_by(value: onnx_ir.Value | None, op_type: str) -> onnx_ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _tables(
    graph: onnx_ir.Model, cos: onnx_ir.Value, sin: onnx_ir.Value, positions: int
) -> tuple[onnx_ir.Value, onnx_ir.Value] | None:
    """Return the tables [positions, half a head] of what rotates, or None where the halves turn differently."""
    made = []
    for name, value in (("cos", cos), ("sin", sin)):
        table = evaluate(graph, value, tokens=positions, past=0).reshape(positions, -1)
        half = table.shape[1] // 2
        if not np.array_equal(table[:, :half], table[:, half:]):
            return None
        made.append(_constant(graph.graph, f"{name}_table.{cos.name}", np.ascontiguousarray(table[:, :half])))
    return made[0], made[1]


def _replace(
    graph: onnx_ir.Graph,
    layer: _Layer,
    rotated: list[onnx_ir.Value | None],
    tables: tuple[onnx_ir.Value | None, onnx_ir.Value | None],
    lengths: list[onnx_ir.Value],
    window: int,
) -> None:
    attention, new = layer.attention, tape.Tape()
    query, key, value = rotated[0] or attention.inputs[0], rotated[1] or layer.key.inputs[1], layer.value.inputs[1]
    heads, size = _heads(query), _size(query)
    inputs = [_flat(new, side) for side in (query, key, value)]
    fused = onnx_ir.node(
        "GroupQueryAttention",
        [*inputs, layer.key.inputs[0], layer.value.inputs[0], *lengths, *tables],
        domain=_DOMAIN,
        attributes={
            "num_heads": heads,
            "kv_num_heads": _heads(key),
            "scale": attention.attributes.get_float("scale", 0.0) or 1 / math.sqrt(size),
            "softcap": attention.attributes.get_float("softcap", 0.0),
            "local_window_size": window,
            "do_rotary": int(tables[0] is not None),
        },
        num_outputs=3,
        name=f"attention.{attention.name}",
    )
    graph.insert_before(attention, [*new.nodes, fused])
    for output, node in zip(fused.outputs[1:], (layer.key, layer.value), strict=True):
        _take_over(graph, node.outputs[0], output)
    after = _flattened(attention.outputs[0])
    if after is not None:
        onnx_ir.convenience.replace_all_uses_with(after, fused.outputs[0])
        return
    back = tape.Tape()
    cut = back.op("Reshape", [fused.outputs[0], _numbers(back, [0, 0, heads, size])])
    whole = back.op("Transpose", [cut], attributes={"perm": _HEADS_FIRST})
    graph.insert_before(attention, list(back.nodes))
    onnx_ir.convenience.replace_all_uses_with(attention.outputs[0], whole)


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
    node = _made_by(value, "Transpose")
    if node is not None and list(node.attributes["perm"].as_ints()) == _HEADS_FIRST:
        value = node.inputs[0]
        cut = _made_by(value, "Reshape")
        source = cut.inputs[0] if cut else None
        if source is not None and source.shape is not None and len(source.shape) == 3:
            return source
    else:
        value = new.op("Transpose", [value], attributes={"perm": _HEADS_FIRST})
    return new.op("Reshape", [value, _numbers(new, [0, 0, -1])])


def _flattened(value: onnx_ir.Value) -> onnx_ir.Value | None:
    """Return what the tracer makes of an attention's output: heads after tokens, flat; None if it is something else."""
    for op_type in ("Where", "Transpose", "Reshape"):
        uses = list(value.uses())
        if op_type == "Where" and len(uses) == 1 and uses[0].node.op_type != "Where":
            continue
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


def _numbers(new: tape.Tape, numbers: list[int]) -> onnx_ir.Value:
    return new.op("Constant", [], attributes={"value": onnx_ir.tensor(np.array(numbers, np.int64))})
