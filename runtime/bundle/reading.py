"""What runs in a folder: a bundle, or the ONNX graphs of another tool."""

from pathlib import Path

from .manifest import MANIFEST, Bundle
from .snapshots import real_snapshot


def read_bundle(folder: str | Path, profile: str | None = None) -> Bundle:
    """Read what runs in a folder: a bundle or, where it has no manifest, the ONNX graphs of another tool.

    `profile` is the one that will run. Raises what `Bundle.read` and `read_onnx_folder` do.
    """
    if not (Path(folder) / MANIFEST).is_file():
        from .onnx_folder import folder_names, has_graphs, read_onnx_folder
        from .onnx_layout import require_known_names

        if has_graphs(Path(folder)):
            return read_onnx_folder(real_snapshot(Path(folder), profile), profile)
        require_known_names(Path(folder).resolve().name, folder_names(Path(folder)))
    return Bundle.read(real_snapshot(Path(folder)))
