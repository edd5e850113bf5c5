"""A graph as ONNX Runtime runs it on this machine, its weights packed for the CPU and mapped from the disk.

`vitrify tune --prepack` writes it to the user's cache; what opens it packs nothing, and processes share its pages.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundle.digests import cache_folder, cache_key, file_digest, remembered_digest, writing_cache
from ..bundle.files import write_synced
from ..errors import EnvironmentMissing
from ..machine import this_machine
from ..sessions.meanings import explained
from ..sessions.onnxruntime.base import OPENING
from ..sessions.onnxruntime.cpu import cpu_entries, cpu_options
from ..sessions.opening import Opening
from ..sessions.telemetry import onnxruntime_module

_GRAPH, _DATA, _DIGESTS = "model.onnx", "model.onnx_data", "digests.json"
_GROWTH = 2.2  # packed weights are written beside the plain ones
_SAVING: Mapping[str, str] = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": _DATA,
}


def packed_graph(digests: Sequence[str | None], entries: Mapping[str, Any]) -> Path | None:
    """Return a graph as `prepack` wrote it, or None where it is not there, or not whole.

    `digests` are the sha256 of its files, `entries` the settings that it runs with.
    """
    folder = _folder(digests, entries)
    try:
        listed = json.loads((folder / _DIGESTS).read_text(encoding="ascii"))
        whole = _GRAPH in listed and all(remembered_digest(folder / name) == value for name, value in listed.items())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return folder / _GRAPH if whole else None


def prepack(
    graph: Path, digests: Sequence[str | None], entries: Mapping[str, Any], *, threads: int | None = None
) -> None:
    """Write a graph, packed, into the user's cache: into a folder that is whole or not there.

    Raises EnvironmentMissing where the disk is too small or cannot be written.
    """
    _write(graph, _folder(digests, entries), entries, threads)


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


def _folder(digests: Sequence[str | None], entries: Mapping[str, Any]) -> Path:
    """Return where a graph lies packed: by its files, the settings, the CPU and ONNX Runtime's version."""
    machine = this_machine()
    settings = {key: str(value) for key, value in cpu_entries(entries, machine).items()}
    cpu = [machine.model_name, sorted(machine.cpu_features)]
    key = cache_key(list(digests), settings, cpu, onnxruntime_module().__version__)
    return cache_folder("prepacked") / key


def _save(source: Path, target: Path, entries: Mapping[str, Any], threads: int | None) -> None:
    ort = onnxruntime_module()
    options = cpu_options({**entries, **_SAVING}, Opening(threads))
    options.optimized_model_filepath = str(target)
    try:
        ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise explained(f"graph '{source.name}' cannot be packed", error, OPENING, path=source) from error
