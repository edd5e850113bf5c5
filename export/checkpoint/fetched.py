"""Where the checkpoint comes from: a folder, the Hub, pickled weights or a model object; all become a folder."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.bundle.checkpoint_files import (
    Listing,
    checkpoint_files,
    documents_of,
    has_pickles,
    settings_of,
    weights_by_folder,
)
from ...runtime.bundle.digests import file_digest
from ...runtime.bundle.manifest import Provenance
from ...runtime.errors import UsageError
from ...runtime.sources.request import Request
from ...runtime.sources.resolve import resolve_source


@dataclass(frozen=True)
class Found:
    """A checkpoint's folder and what to record of its origin; `read` is where its files were before a conversion."""

    folder: Path
    provenance: Provenance
    read: Path

    def source_files(self) -> dict[str, str]:
        """Return the sha256 of every file that the bundle is made from."""
        return {name: file_digest(path) for name, path in checkpoint_files(self.read).items()}

    def documents(self) -> dict[str, Path]:
        """Return the checkpoint's model card and licenses, by name."""
        return {name: self.read / name for name in documents_of(Listing.from_folder(self.read))}


def fetch(request: Request, scratch: Path, *, processor: Any = None) -> Found:
    """Return the checkpoint as a folder; what has to be made first is made in `scratch`.

    A model object comes with its `processor`: a tokenizer or an image processor of transformers.
    """
    if not isinstance(request.model, (str, Path)):
        return _saved(request.model, processor, scratch)
    source = resolve_source(request)
    pickled = request.allow_pickle and has_pickles(source.folder)
    folder = _unpickled(source.folder, scratch) if pickled else source.folder
    return Found(folder, Provenance(source.id, source.revision, pickle=pickled), source.folder)


def _saved(model: Any, processor: Any, scratch: Path) -> Found:
    if not hasattr(model, "save_pretrained"):
        raise UsageError(f"model must be a folder, a Hub id or a transformers model, got {type(model).__name__}")
    if processor is None:
        raise UsageError("a model object needs tokenizer= or image_processor=, which its pipeline will use")
    folder = scratch / "checkpoint"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return Found(folder, Provenance(type(model).__name__), folder)


def _unpickled(folder: Path, scratch: Path) -> Path:
    from .pickled import safetensors_from_pickle

    out = scratch / "checkpoint"
    out.mkdir()
    for name in settings_of(Listing.from_folder(folder), code=True):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, out / name)
    for place, weights in weights_by_folder(folder).items():
        (out / place).mkdir(parents=True, exist_ok=True)
        if weights.pickled:
            safetensors_from_pickle(folder / place, out / place)
            continue
        for name in weights.names:
            shutil.copyfile(folder / name, out / name)
    return out
