"""Passes of onnx_ir and onnxscript, under the names by which a list shows them; each changes the graph in place."""

import onnx_ir
from onnx_ir.passes import common
from onnxscript import optimizer


def fold_constants(graph: onnx_ir.Model) -> None:
    """Compute what depends on constants alone."""
    optimizer.fold_constants(graph)


def remove_unused_nodes(graph: onnx_ir.Model) -> None:
    """Remove nodes and weights that no output depends on."""
    common.RemoveUnusedNodesPass()(graph)


def merge_equal_nodes(graph: onnx_ir.Model) -> None:
    """Compute what several nodes compute alike once."""
    common.CommonSubexpressionEliminationPass()(graph)


def merge_equal_weights(graph: onnx_ir.Model) -> None:
    """Store equal weights once."""
    common.DeduplicateInitializersPass()(graph)


def clear_metadata(graph: onnx_ir.Model) -> None:
    """Remove the tracer's notes: its stack traces contain paths of the machine that exported."""
    common.ClearMetadataAndDocStringPass()(graph)
