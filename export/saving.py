"""Write graphs with their weights beside them; graphs that share weights name one file of them."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx_ir

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
            onnx_ir.save(graphs[name], str(path), external_data=f"{path.name}_data", size_threshold_bytes=THRESHOLD)


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
