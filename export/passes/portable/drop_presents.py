"""Drop the outputs of a cache that does not grow: they only hand back what came in."""

import onnx_ir
from onnx_ir.passes import common


def drop_presents(graph: onnx_ir.Model, side: str) -> None:
    """Remove the outputs whose name contains `side`, and what only they need, in place."""
    kept = [value for value in graph.graph.outputs if side not in str(value.name)]
    graph.graph.outputs.clear()
    graph.graph.outputs.extend(kept)
    common.RemoveUnusedNodesPass()(graph)
