"""Recognize the rotation of queries and keys by position, and read off the tables that it uses.

1. `x * cos + concat(-x[half:], x[:half]) * sin` rotates a whole head, with both products written either way round.
2. A head of which only the first part is rotated has the rest put back behind it.
3. The tables are what the graph itself computes for each position.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir

from .evaluate import evaluate
from .producers import made_by

Tables = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Rotation:
    """What rotates by position: `value` before it, and the sines as the graph computes them."""

    value: onnx_ir.Value
    cos: onnx_ir.Value
    sin: onnx_ir.Value

    @property
    def angles(self) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        """What two rotations by the same angles have in common."""
        return self.cos, self.sin


def find_rotation(value: onnx_ir.Value | None) -> Rotation | None:
    """Recognize a rotation of whole heads, or of their first part with the rest put back behind it."""
    joined = made_by(value, "Concat")
    turned = _turn(joined.inputs[0] if joined is not None else value)
    if joined is None or turned is None:
        return turned
    parts = made_by(turned.value, "Slice"), made_by(joined.inputs[-1], "Slice")
    whole = parts[0].inputs[0] if parts[0] is not None else None
    if whole is None or parts[1] is None or parts[1].inputs[0] is not whole or _width(whole) != _width(value):
        return None
    return Rotation(whole, turned.cos, turned.sin)


def _width(value: onnx_ir.Value | None) -> object:
    return value.shape[-1] if value is not None and value.shape is not None else None


def _turn(value: onnx_ir.Value | None) -> Rotation | None:
    """Recognize x * cos + concat(-x[half:], x[:half]) * sin, with both products written either way round."""
    node = made_by(value, "Add")
    for direct, crossed in ((0, 1), (1, 0)) if node else ():
        plain, turned = made_by(node.inputs[direct], "Mul"), made_by(node.inputs[crossed], "Mul")  # pyright: ignore[reportOptionalMemberAccess]
        if plain is None or turned is None:
            continue
        swapped = made_by(turned.inputs[0], "Concat")
        if swapped is None or made_by(swapped.inputs[0], "Neg") is None:
            continue
        negated = made_by(swapped.inputs[0], "Neg")
        halves = made_by(negated.inputs[0], "Slice"), made_by(swapped.inputs[1], "Slice")  # pyright: ignore[reportOptionalMemberAccess]
        source, cos, sin = plain.inputs[0], plain.inputs[1], turned.inputs[1]
        if all(half is not None and half.inputs[0] is source for half in halves) and source and cos and sin:
            return Rotation(source, cos, sin)
    return None


def position_tables(graph: onnx_ir.Model, rotation: Rotation, positions: int) -> Tables | None:
    """Return cosines and sines, float32 [positions, half of what rotates], or None where no such tables say it all.

    They do not where the halves turn differently, or where angles depend on more than a token's own position.
    """
    made = []
    for value in (rotation.cos, rotation.sin):
        table = evaluate(graph, value, tokens=positions, past=0).reshape(positions, -1)
        alone = [evaluate(graph, value, tokens=1, past=past).reshape(-1) for past in (0, 1)]
        half = table.shape[1] // 2
        if not (np.array_equal(table[:2], alone) and np.array_equal(table[:, :half], table[:, half:])):
            return None
        made.append(np.ascontiguousarray(table[:, :half]))
    return made[0], made[1]
