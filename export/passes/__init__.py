"""The passes that every traced graph goes through, in order; each is one file with its rules in its docstring."""

from collections.abc import Mapping, Sequence

import onnx_ir
from onnx_ir.passes import common
from onnxscript import optimizer

from ...runtime.graphs.signature import CROSS, PAST
from .portable.choose_by_masks import choose_by_masks
from .portable.deepen import Depth, deepen
from .portable.keep_outputs import keep_outputs
from .portable.name_axes import name_axes
from .portable.name_caches import name_caches


def finish(
    graph: onnx_ir.Model,
    *,
    axes: Mapping[str, Mapping[int, str]],
    outputs: tuple[str, ...],
    ir_version: int,
    depths: Sequence[Depth] = (),
) -> None:
    """Turn the tracer's graph into a portable one, in place; `depths` are the stacks of which few layers were traced.

    Folding constants, dropping what is unused and merging equal nodes take 0.04 s on MiniLM; onnxscript's full
    optimizer takes a third of an export and gives a graph that runs no faster.
    """
    name_caches(graph)
    keep_outputs(graph, outputs)
    for depth in depths:
        common.RemoveUnusedNodesPass()(graph)
        deepen(graph, depth)
    optimizer.fold_constants(graph)
    choose_by_masks(graph)
    common.RemoveUnusedNodesPass()(graph)
    common.CommonSubexpressionEliminationPass()(graph)
    common.DeduplicateInitializersPass()(graph)
    common.RemoveUnusedNodesPass()(graph)
    name_axes(graph, {str(value.name): _axes_of(str(value.name), axes) for value in graph.graph.inputs})
    # Stack traces hold paths of the machine that exported.
    common.ClearMetadataAndDocStringPass()(graph)
    graph.producer_name, graph.producer_version = "vitrify", None
    graph.ir_version = min(graph.ir_version, ir_version)


def _axes_of(name: str, axes: Mapping[str, Mapping[int, str]]) -> Mapping[int, str]:
    """Return the axes of an input; all tensors of an output or cache share an entry."""
    if not name.startswith(PAST):
        return axes.get(name.partition(".")[0], {})
    return axes["past_key_values.encoder" if CROSS in name else "past_key_values"]
