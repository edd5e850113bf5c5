"""Give outputs the names that other loaders know."""

from collections.abc import Mapping

import onnx_ir


def rename_outputs(graph: onnx_ir.Model, names: Mapping[str, str]) -> None:
    """Rename the outputs in `names`, in place; a name that is not there is skipped."""
    for value in graph.graph.outputs:
        value.name = names.get(str(value.name), value.name)
