"""Keep only the outputs that a task reads, in the order that the head names them.

1. An output that is not named goes, and with it, by the unused-node pass that follows, all that computes only it.
2. A cache's outputs, `present.*`, are kept always.
3. A name that the model does not return is skipped: a model without a pooler has no `pooler_output`.
"""

import onnx_ir

from ....runtime.errors import ExportError
from ....runtime.graphs.signature import PRESENT


def keep_outputs(graph: onnx_ir.Model, names: tuple[str, ...]) -> None:
    """Reduce the graph's outputs to `names`; raise ExportError if the first of them is not there."""
    found = {value.name: value for value in graph.graph.outputs}
    cache = [name for name in found if str(name).startswith(PRESENT) and name not in names]
    kept = [found[name] for name in (*names, *cache) if name in found]
    if names[0] not in found:
        raise ExportError(f"the traced graph has no output '{names[0]}' (it has: {', '.join(map(str, found))})")
    graph.graph.outputs.clear()
    graph.graph.outputs.extend(kept)
