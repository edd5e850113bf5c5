"""Which node computes a value: what passes that recognize a form walk by."""

import onnx_ir


def made_by(value: onnx_ir.Value | None, op_type: str) -> onnx_ir.Node | None:
    """Return the node that computes `value` if it is of this operator type."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None
