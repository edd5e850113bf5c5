"""A graph as ONNX Runtime runs it on this machine, its weights packed for the CPU and mapped from the disk.

`vitrify tune --prepack` writes it to the user's cache; what opens it packs nothing, and processes share its pages.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.digests import cache_folder, cache_key, file_digest, remembered_digest, writing_cache
from ..bundle.manifest import write_synced
from ..errors import EnvironmentMissing
from ..machine import this_machine
from ..sessions.meanings import explained
from ..sessions.onnxruntime.base import OPENING, onnxruntime_module
from ..sessions.onnxruntime.cpu import cpu_entries, cpu_options

if TYPE_CHECKING:
    from ..loading import LoadedBundle

_GRAPH, _DATA, _DIGESTS = "model.onnx", "model.onnx_data", "digests.json"
_GROWTH = 2.2  # packed weights are written beside the plain ones
_SAVING: Mapping[str, str] = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": _DATA,
}


def packed_graph(bundle: "LoadedBundle", graph: str) -> Path | None:
    """Return a graph of a loaded bundle as `prepack` wrote it, or None where it is not there, or not whole."""
    folder = _folder(bundle, graph)
    try:
        digests = json.loads((folder / _DIGESTS).read_text(encoding="ascii"))
        whole = _GRAPH in digests and all(remembered_digest(folder / name) == value for name, value in digests.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return folder / _GRAPH if whole else None


def prepack(bundle: "LoadedBundle") -> None:
    """Write the graphs that run a loaded bundle into the user's cache, each in a folder that is whole or not there.

    Raises EnvironmentMissing where the disk is too small or cannot be written.
    """
    for graph in bundle.way:
        _write(bundle.graph_file(graph), _folder(bundle, graph), bundle.settings, bundle.threads)


def _write(source: Path, folder: Path, entries: Mapping[str, Any], threads: int | None) -> None:
    size = sum(path.stat().st_size for path in source.parent.glob(f"{source.stem}.onnx*"))
    with writing_cache(folder.parent):
        if shutil.disk_usage(folder.parent).free < _GROWTH * size:
            raise EnvironmentMissing(
                f"'{folder.parent}' has too little room for packed weights, {_GROWTH * size / 2**20:.0f} MB: point "
                "VITRIFY_CACHE elsewhere, or leave --prepack out"
            )
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".packing-") as scratch:
            whole = Path(scratch) / "whole"
            whole.mkdir()
            _save(source, whole / _GRAPH, entries, threads)
            digests = {path.name: file_digest(path) for path in sorted(whole.iterdir())}
            write_synced(whole / _DIGESTS, json.dumps(digests))
            shutil.rmtree(folder, ignore_errors=True)
            whole.replace(folder)


def _folder(bundle: "LoadedBundle", graph: str) -> Path:
    """Return where a graph lies packed: by its files, the settings, the CPU and ONNX Runtime's version."""
    manifest, machine = bundle.manifest, this_machine()
    files = [manifest.files.get(name) for name in manifest.graph_files(bundle.profile.name, graph)]
    settings = {key: str(value) for key, value in cpu_entries(bundle.settings, machine).items()}
    cpu = [machine.model_name, sorted(machine.cpu_features)]
    return cache_folder() / "prepacked" / cache_key(files, settings, cpu, onnxruntime_module().__version__)


def _save(source: Path, target: Path, entries: Mapping[str, Any], threads: int | None) -> None:
    ort = onnxruntime_module()
    options = cpu_options({**entries, **_SAVING}, threads=threads, machine=this_machine())
    options.optimized_model_filepath = str(target)
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise explained(f"graph '{source.name}' cannot be packed", error, OPENING, path=source) from error
