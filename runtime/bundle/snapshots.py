"""A snapshot in huggingface_hub's cache as real files: its links are followed as far as its own repository.

ONNX Runtime rejects external data behind links. It knows neither the Hub nor what the files mean.
"""

import os
import re
import shutil
from pathlib import Path

from ..errors import EnvironmentMissing, IntegrityError
from .digests import cache_folder
from .manifest import MANIFEST

_COMMIT = re.compile(r"[0-9a-f]{40}")


def real_snapshot(folder: Path, profile: str | None = None) -> Path:
    """Return the folder; for a snapshot of links, a copy in vitrify's cache, as if its Hub id had been named.

    Of an ONNX folder only the graphs of `profile` are copied (None: fp32, or the only one). Raises IntegrityError for a
    link that leaves the repository, EnvironmentMissing where the copy cannot be written.
    """
    folder = folder.absolute()
    repository = folder.parent.parent
    is_snapshot = (
        folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) and (repository / "blobs").is_dir()
    )
    if not is_snapshot or not any(path.is_symlink() for path in folder.rglob("*")):
        return folder
    place = cache_folder("hub") / repository.name.removeprefix("models--") / folder.name
    try:
        for name in _wanted(folder, profile):
            _copy(folder, name, place)
    except OSError as error:
        raise EnvironmentMissing(f"'{folder}' cannot be copied to '{place}': {error.strerror or error}") from error
    return place


def _wanted(folder: Path, profile: str | None) -> list[str]:
    from .onnx_layout import choose_variant, files_of, find_variants

    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    if MANIFEST in names:
        return names
    variants = find_variants(names)
    graphs = files_of(names, variants[choose_variant(folder.name, list(variants), profile)])
    return [name for name in names if name in graphs or not (".onnx" in name or name.endswith(".safetensors"))]


def _copy(folder: Path, name: str, place: Path) -> None:
    source, target = (folder / name).resolve(), place / name
    inside = (folder.resolve(), (folder.parent.parent / "blobs").resolve())
    if not any(source.is_relative_to(each) for each in inside):
        raise IntegrityError(f"'{folder / name}' is a link that leaves its repository: download it again")
    if not source.is_file():
        raise IntegrityError(f"'{folder / name}' is a link to a file that is missing: download it again")
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, unfinished)
    unfinished.replace(target)
