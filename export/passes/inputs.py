"""Drop the inputs that a graph does not read: a decoder that places tokens by bias has no use for `position_ids`.

1. An input without a reader goes; a cache's stay, because the loop hands back what `present` gave.
"""

from collections.abc import Mapping

import onnx_ir

from .caches import CACHE


def drop_unused_inputs(graph: onnx_ir.Model) -> None:
    """Remove the graph's unread inputs, in place."""
    kept = [value for value in graph.graph.inputs if value.uses() or str(value.name).startswith(f"{CACHE}.")]
    graph.graph.inputs.clear()
    graph.graph.inputs.extend(kept)


def rename_inputs(graph: onnx_ir.Model, names: Mapping[str, str]) -> None:
    """Give inputs the names that other loaders know; a name that is not there is skipped."""
    for value in graph.graph.inputs:
        value.name = names.get(str(value.name), value.name)
