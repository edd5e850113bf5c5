"""Masks choose: `Mul(Cast(Not(mask)), lowest)` becomes `Where(mask, 0, lowest)`, the same numbers.

Written as a product, a mask looks like a quantized value and its scale. OpenVINO then divides the scores by -3e38 to
add them before it multiplies, which leaves nothing of them, where none of its generated kernels took the sum before.
"""

import onnx_ir
from onnx_ir import convenience, tape

from ..reading.producers import made_by


def choose_by_masks(graph: onnx_ir.Model) -> None:
    """Replace every such product of float32, in place; its nodes stay for a pass that removes them."""
    for node in list(graph.graph):
        cast = made_by(node.inputs[0], "Cast") if node.op_type == "Mul" else None
        negated = made_by(cast.inputs[0], "Not") if cast is not None else None
        if negated is None or (lowest := node.inputs[1]) is None:
            continue
        number = convenience.get_const_tensor(lowest)
        if number is not None and number.size == 1 and number.dtype == onnx_ir.DataType.FLOAT:
            new, output = tape.Tape(), node.outputs[0]
            zero = new.op("Constant", [], attributes={"value_float": 0.0})
            chosen = new.op("Where", [negated.inputs[0], zero, lowest])
            chosen.shape, chosen.type, chosen.name = output.shape, output.type, output.name
            graph.graph.insert_before(node, list(new.nodes))
            convenience.replace_all_uses_with(output, chosen)
