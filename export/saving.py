"""Write graphs with their weights beside them, graphs that share weights with one file of them; read their tensors."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx_ir

from ..runtime.graphs.signature import Graph, Tensor

# Smaller tensors stay inside the .onnx file.
THRESHOLD = 1024


def save_graphs(graphs: Mapping[str, onnx_ir.Model], paths: Mapping[str, Path], *, shared: Mapping[str, str]) -> None:
    """Write each graph to its path; those in `shared` use the weights file of the graph that they name there.

    The weights are matched by name, so both graphs must come of the same tensors.
    """
    for name in sorted(graphs, key=lambda name: name in shared):
        path = paths[name]
        if name in shared:
            _point_to(graphs[name], paths[shared[name]])
            onnx_ir.save(graphs[name], str(path))
        else:
            save_graph(graphs[name], path)


def save_graph(graph: onnx_ir.Model, path: Path) -> None:
    """Write a graph with its large tensors in a file beside it."""
    onnx_ir.save(graph, str(path), external_data=f"{path.name}_data", size_threshold_bytes=THRESHOLD)


def _point_to(graph: onnx_ir.Model, owner: Path) -> None:
    """Let the graph's large tensors be those of the graph saved at `owner`."""
    saved = onnx_ir.load(str(owner)).graph.initializers
    for name, value in graph.graph.initializers.items():
        tensor = saved[name].const_value if name in saved else None
        if isinstance(tensor, onnx_ir.ExternalTensor):
            value.const_value = tensor


@contextmanager
def written_beside(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield a folder to write the graph of this name in, and its weights' file name; then move both beside `path`.

    A stopped write leaves nothing by their name. A graph of small weights may have no file of weights.
    """
    data = f"{path.name}_data"
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder, data
        for name in (data, path.name):
            if (folder / name).exists():
                (folder / name).replace(path.parent / name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_tensors(path: Path) -> Graph:
    """Return the inputs and outputs of the graph at `path`; inputs that have a value already are left out."""
    graph = onnx_ir.load(str(path)).graph
    given = [value for value in graph.inputs if value.name not in graph.initializers]
    return Graph(_tensors(given), _tensors(graph.outputs))


def _tensors(values: Iterable[onnx_ir.Value]) -> tuple[Tensor, ...]:
    return tuple(Tensor(str(value.name), value.dtype.numpy().name, _axes(value)) for value in values if value.dtype)


def _axes(value: onnx_ir.Value) -> tuple[str | int, ...]:
    sides = () if value.shape is None else value.shape
    return tuple(
        side if isinstance(side, int) else side.value or f"{value.name}.{position}"
        for position, side in enumerate(sides)
    )
