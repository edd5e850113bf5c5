"""Say who made a graph, and lower the version of its file format to what the profiles' runtimes read."""

import onnx_ir


def stamp_versions(graph: onnx_ir.Model, ir_version: int) -> None:
    """Set the producer, in place, and `ir_version` where the graph's is newer."""
    graph.producer_name, graph.producer_version = "vitrify", None
    graph.ir_version = min(graph.ir_version, ir_version)
