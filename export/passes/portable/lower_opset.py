"""Declare an older opset for a graph without `Attention`, where each of its operators is that old."""

import onnx
import onnx_ir

from ....runtime.errors import UnsupportedError


def lower_opset(graph: onnx_ir.Model, opset: int) -> None:
    """Set the version of the standard operators, in place; raise UnsupportedError for one that is newer."""
    for operator in sorted({node.op_type for node in graph.graph.all_nodes() if not node.domain}):
        try:
            onnx.defs.get_schema(operator, max_inclusive_version=opset, domain="")
        except onnx.defs.SchemaError as error:
            since = onnx.defs.get_schema(operator, domain="").since_version
            raise UnsupportedError(
                f"the graph has {operator}, an operator of opset {since}, and the profile's 'opset' is {opset}: use a "
                f"profile with opset {since} or more"
            ) from error
    graph.graph.opset_imports[""] = opset
