"""Drop the inputs that a graph does not read: a decoder that places tokens by bias has no use for `position_ids`.

1. An input without a reader goes; a cache's stay, because the loop hands back what `present` gave.
"""

import onnx_ir

from ....runtime.graphs.signature import PAST


def drop_unused_inputs(graph: onnx_ir.Model) -> None:
    """Remove the graph's unread inputs, in place."""
    kept = [value for value in graph.graph.inputs if value.uses() or str(value.name).startswith(PAST)]
    graph.graph.inputs.clear()
    graph.graph.inputs.extend(kept)
