"""Compute the logits of the last tokens only: a prompt of 512 tokens needs one row of the vocabulary, not 512.

1. From the output `logits` the walk goes up through what works value by value (scaling, soft caps, casts, a bias) to
   the head: a MatMul with a constant, or with the transpose of one.
2. What goes into the head is cut along the sequence to its last `num_logits_to_keep` tokens; 0 keeps them all.
3. `num_logits_to_keep` is an input that has a value, 1: a loader that does not know it need not give it.
"""

import numpy as np
import onnx_ir
from onnx_ir import tape

from ....runtime.errors import ExportError
from ..reading.constants import whole_numbers

INPUT = "num_logits_to_keep"
_VALUE_BY_VALUE = frozenset({"Cast", "Mul", "Div", "Add", "Sub", "Tanh", "Identity"})
_TO_THE_END = np.iinfo(np.int64).max


def keep_last_logits(graph: onnx_ir.Model) -> None:
    """Cut the input of the language model's head, in place; raise ExportError if there is none to be found."""
    logits = next(value for value in graph.graph.outputs if value.name == "logits")
    head = _head(logits)
    data = head.inputs[0]
    new = tape.Tape()
    count = _count(graph.graph)
    start = new.op("Neg", [new.op("Reshape", [count, whole_numbers(new, [1])])])
    last = new.op("Slice", [data, start, whole_numbers(new, [_TO_THE_END]), whole_numbers(new, [1])])
    graph.graph.insert_before(head, list(new.nodes))
    head.replace_input_with(0, last)
    assert logits.shape is not None
    logits.shape = onnx_ir.Shape([logits.shape[0], "kept", logits.shape[2]])


def _head(logits: onnx_ir.Value) -> onnx_ir.Node:
    node = logits.producer()
    while node is not None and node.op_type in _VALUE_BY_VALUE:
        node = next((value for value in map(_producer, node.inputs) if value is not None), None)
    if node is None or node.op_type != "MatMul" or not _is_weight(node.inputs[1]):
        raise ExportError("the graph's logits do not come from a product with a weight: no head to cut")
    return node


def _producer(value: onnx_ir.Value | None) -> onnx_ir.Node | None:
    """Return what computes `value`, or None for a constant."""
    node = value.producer() if value is not None else None
    return None if node is None or node.op_type == "Constant" else node


def _is_weight(value: onnx_ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Transpose":
        value = node.inputs[0]
    return value is not None and value.is_initializer()


def _count(graph: onnx_ir.Graph) -> onnx_ir.Value:
    value = onnx_ir.Value(name=INPUT, shape=onnx_ir.Shape([]), type=onnx_ir.TensorType(onnx_ir.DataType.INT64))
    value.const_value = onnx_ir.tensor(np.array(1, np.int64), name=INPUT)
    graph.inputs.append(value)
    graph.register_initializer(value)
    return value
