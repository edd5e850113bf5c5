"""Graphs written as text, for more than one test."""

import numpy as np
import onnx
import onnx_ir

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
# A cache that grows by what is fresh, in bfloat16.
GROWING = """
<ir_version: 10, opset_import: ["" : 20]>
growing (float[batch, sequence] fresh, bfloat16[batch, past] cache)
    => (bfloat16[batch, total] present, float[batch, total] seen)
{
    half = Cast<to = 16>(fresh)
    present = Concat<axis = 1>(cache, half)
    seen = Cast<to = 1>(present)
}
"""


def graph_of(text, seed=0, **weights):
    """Return the graph with drawn float32 weights, but for those given."""
    model, draw = onnx.parser.parse_model(HEAD + text), np.random.default_rng(seed)
    for tensor in [*model.graph.initializer]:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            made = weights.get(tensor.name, draw.standard_normal(tuple(tensor.dims)).astype(np.float32))
            tensor.CopyFrom(onnx.numpy_helper.from_array(made.astype(np.float32), tensor.name))
    declared = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.value_info if value.name not in declared]:
        shape = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and all(shape):
            made = weights.get(value.name, draw.standard_normal(shape).astype(np.float32))
            model.graph.initializer.append(onnx.numpy_helper.from_array(made.astype(np.float32), value.name))
    graph = onnx_ir.from_proto(model)
    for value in (*graph.graph.inputs, *graph.graph.outputs):  # the text's grammar has no dots
        value.name = str(value.name).replace("_0_key", ".0.key")
    return graph
