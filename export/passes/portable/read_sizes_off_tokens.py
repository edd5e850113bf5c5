"""Read sizes off the tokens, so that no other input is needed for them.

1. How many rows and tokens there are is read off `input_ids`, whichever input the tracer took it from.
"""

import onnx_ir


def read_sizes_off_tokens(graph: onnx_ir.Model) -> None:
    """Make every `Shape` that takes the size of a batch or of its sequence take it from `input_ids`, in place."""
    tokens = next(value for value in graph.graph.inputs if value.name == "input_ids")
    places = {str(axis): place for place, axis in enumerate(tokens.shape or ())}
    for node in graph.graph:
        source = node.inputs[0] if node.op_type == "Shape" else None
        if source is None or not source.is_graph_input() or source.shape is None:
            continue
        sizes = list(source.shape)[node.attributes.get_int("start", 0) : node.attributes.get_int("end", None)]
        if len(sizes) == 1 and (place := places.get(str(sizes[0]))) is not None:
            node.replace_input_with(0, tokens)
            node.attributes["start"] = onnx_ir.AttrInt64("start", place)
            node.attributes["end"] = onnx_ir.AttrInt64("end", place + 1)
