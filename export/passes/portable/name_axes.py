"""Give the tracer's symbols (`s18`, `s41`) the names of the axes they stand for.

1. An input's axis gets its name from the family: `batch`, `sequence`, `height`, `width`; every other one is a number.
2. A symbol that stood at a named input axis is renamed wherever it appears, also inside expressions.
3. A symbol that no input explains keeps its name.
"""

import re
from collections.abc import Iterator, Mapping

import onnx_ir

from ....runtime.graphs.signature import CROSS, PAST


def name_axes(graph: onnx_ir.Model, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Rename symbols in the shapes of inputs and outputs, and drop the intermediate shapes that used them.

    `axes` maps inputs to the names of their axes by position; all tensors of an output or cache share an entry.
    """
    axes = {str(value.name): _axes_of(str(value.name), axes) for value in graph.graph.inputs}
    names = dict(_named_symbols(graph, axes))
    for value in graph.graph.inputs:
        for position, name in axes.get(str(value.name), {}).items():
            assert value.shape is not None
            value.shape[position] = onnx_ir.SymbolicDim(name)
    for value in graph.graph.outputs:
        value.shape = _renamed(value.shape, names)
    for node in graph.graph:
        for value in node.outputs:
            if value.shape is not None and not value.is_graph_output():
                value.shape = _renamed(value.shape, names)


def _axes_of(name: str, axes: Mapping[str, Mapping[int, str]]) -> Mapping[int, str]:
    if not name.startswith(PAST):
        return axes.get(name.partition(".")[0], {})
    return axes["past_key_values.encoder" if CROSS in name else "past_key_values"]


def _named_symbols(graph: onnx_ir.Model, axes: Mapping[str, Mapping[int, str]]) -> Iterator[tuple[str, str]]:
    for value in graph.graph.inputs:
        for position, name in axes.get(str(value.name), {}).items():
            dim = value.shape[position] if value.shape is not None else None
            if isinstance(dim, onnx_ir.SymbolicDim) and dim.value is not None:
                yield dim.value, name


def _renamed(shape: onnx_ir.Shape | None, names: Mapping[str, str]) -> onnx_ir.Shape | None:
    if shape is None:
        return None
    return onnx_ir.Shape([dim if isinstance(dim, int) else _renamed_dim(dim, names) for dim in shape])


def _renamed_dim(dim: onnx_ir.SymbolicDim, names: Mapping[str, str]) -> onnx_ir.SymbolicDim:
    if dim.value is None:
        return dim
    return onnx_ir.SymbolicDim(re.sub(r"\bs\d+\b", lambda match: names.get(match[0], match[0]), dim.value))
