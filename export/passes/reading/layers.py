"""The linear layers and lookups of a graph, and the matrices that they read: what quantization replaces."""

from dataclasses import dataclass

import numpy as np
import onnx_ir

# A head of a few labels costs nothing and decides the answer: smaller matrices stay as they are.
_SMALLEST = 16


@dataclass(frozen=True)
class Weight:
    """A constant matrix as a node reads it: where it is stored, and whether its rows there are the node's outputs."""

    value: onnx_ir.Value
    by_row: bool

    @property
    def rows(self) -> np.ndarray:
        """float32 [outputs, inputs]."""
        assert self.value.const_value is not None
        numbers = self.value.const_value.numpy()
        return numbers if self.by_row else np.ascontiguousarray(numbers.T)


def layer_weight(node: onnx_ir.Node) -> Weight | None:
    """Return the weight of a linear layer, seen through a transposition, or None if the node is none."""
    if node.domain or node.op_type not in {"MatMul", "Gemm"}:
        return None
    plain = all(node.attributes.get_float(name, 1.0) == 1.0 for name in ("alpha", "beta"))
    value = node.inputs[1]
    if not plain or node.attributes.get_int("transA", 0) or value is None:
        return None
    by_row = bool(node.attributes.get_int("transB", 0))
    turn = value.producer()
    if turn is not None and turn.op_type == "Transpose" and list(turn.attributes.get_ints("perm", [1, 0])) == [1, 0]:
        value, by_row = turn.inputs[0], not by_row
    return Weight(value, by_row) if value is not None and _is_matrix(value, sides=2) else None


def is_lookup(node: onnx_ir.Node, *, sides: int) -> bool:
    """Whether the node looks rows up in a constant table whose first `sides` sides are long enough to matter."""
    plain = not node.domain and node.op_type == "Gather" and not node.attributes.get_int("axis", 0)
    return plain and _is_matrix(node.inputs[0], sides=sides)


def _is_matrix(value: onnx_ir.Value | None, *, sides: int) -> bool:
    """Say whether the value is a constant float32 matrix whose first `sides` sides are long enough to matter."""
    tensor = value.const_value if value is not None and value.is_initializer() else None
    if tensor is None or tensor.dtype != onnx_ir.DataType.FLOAT or len(tensor.shape) != 2:
        return False
    return min(tensor.shape.numpy()[:sides]) >= _SMALLEST
