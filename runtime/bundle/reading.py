"""What runs in a folder: a bundle, or the ONNX graphs of another tool."""

from pathlib import Path

from .manifest import MANIFEST, Bundle


def read_bundle(folder: str | Path, profile: str | None = None) -> Bundle:
    """Read what runs in a folder: a bundle or, where it has no manifest, the ONNX graphs of another tool.

    `profile` is the one that will run. Raises what `Bundle.read` and `read_onnx_folder` do.
    """
    if not (Path(folder) / MANIFEST).is_file():
        from .onnx_folder import has_graphs, read_onnx_folder

        if has_graphs(Path(folder)):
            return read_onnx_folder(Path(folder), profile)
    return Bundle.read(folder)
