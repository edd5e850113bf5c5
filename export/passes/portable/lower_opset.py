"""Declare an older opset for a graph without `Attention`, where each of its operators is that old."""

from functools import cache

import onnx
import onnx_ir

from ....runtime.errors import UnsupportedError


def lower_opset(graph: onnx_ir.Model, opset: int) -> None:
    """Set the version of the standard operators, in place; raise UnsupportedError for one that is newer."""
    since = first_versions()
    for operator in sorted({node.op_type for node in graph.graph.all_nodes() if not node.domain}):
        if since.get(operator, opset) > opset:  # ONNX Runtime's own have no domain either, and no version
            raise UnsupportedError(
                f"the graph has {operator}, an operator of opset {since[operator]}, and the profile's 'opset' is "
                f"{opset}: use a profile with opset {since[operator]} or more"
            )
    graph.graph.opset_imports[""] = opset


@cache
def first_versions() -> dict[str, int]:
    """Return the first opset that has each standard operator."""
    found: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            found[schema.name] = min(schema.since_version, found.get(schema.name, schema.since_version))
    return found
