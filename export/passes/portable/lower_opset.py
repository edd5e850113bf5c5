"""Declare an older opset for a graph without `Attention`: nothing else that a tracer writes is newer."""

import onnx_ir


def lower_opset(graph: onnx_ir.Model, opset: int) -> None:
    """Set the version of the standard operators, in place."""
    graph.graph.opset_imports[""] = opset
