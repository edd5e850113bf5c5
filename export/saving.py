"""Write graphs with their weights beside them, graphs that share weights with one file of them; read their tensors."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir

from ..runtime.graphs.signature import Graph, Tensor

# Smaller tensors stay inside the .onnx file.
THRESHOLD = 1024
# Those of quantized graphs, whose scales are small and many.
_QUANTIZED_THRESHOLD = 256


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


def save_quantized(graph: onnx_ir.Model, path: Path) -> None:
    """Write a graph with its tensors in a file beside it, both or neither; bytes that two tensors share once."""
    with written_beside(path) as (folder, data):
        pairs = list(_views(graph.graph))
        shapes = [view.shape for view, _ in pairs]
        for view, _ in pairs:
            view.const_value = None
        onnx_ir.external_data.unload_from_model(graph, folder, data, size_threshold_bytes=_QUANTIZED_THRESHOLD)
        for (view, base), shape in zip(pairs, shapes, strict=True):
            view.const_value = _reshaped(base, shape, str(view.name))
        onnx_ir.save(graph, folder / path.name)


def _views(graph: onnx_ir.Graph) -> Iterator[tuple[onnx_ir.Value, onnx_ir.Value]]:
    """Yield each tensor that is an earlier one's bytes in another shape, and that one."""
    bases: dict[tuple[int, int, object], onnx_ir.Value] = {}
    for value in graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and isinstance(tensor.raw, np.ndarray) and tensor.size:
            place = tensor.raw.ctypes.data, tensor.nbytes, tensor.dtype
            if (base := bases.setdefault(place, value)) is not value:
                yield value, base


def _reshaped(base: onnx_ir.Value, shape: onnx_ir.Shape | None, name: str) -> onnx_ir.TensorProtocol:
    """Return the base's bytes under another name and shape: the same place in the data file, if they are in it."""
    tensor = base.const_value
    assert tensor is not None
    assert shape is not None
    if isinstance(tensor, onnx_ir.ExternalTensor):
        place = tensor.location, tensor.offset, tensor.length, tensor.dtype
        return onnx_ir.ExternalTensor(*place, shape=shape, name=name, base_dir=tensor.base_dir)
    return onnx_ir.tensor(tensor.numpy().reshape(shape.numpy()), name=name)


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
