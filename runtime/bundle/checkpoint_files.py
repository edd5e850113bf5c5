"""Which files make up a checkpoint: the one place that knows, for downloads, cache keys, provenance and conversion.

Weights are what transformers would load: the config or an index names them. Of the rest everything counts but what is
known to be of no use, for only a tokenizer's class or the checkpoint's own code knows the names of what they read.
It opens configs and indexes only, and knows neither torch nor the Hub.
"""

import contextlib
import itertools
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import IntegrityError, UnsupportedError, UsageError
from ..json_files import brief
from .manifest import CARD, MANIFEST
from .modules_json import MODULES, TRANSFORMER, Read, flattened, listed

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
CONFIG = "config.json"
_EXPLICIT = "transformers_weights"  # the config's field that names other weights
_SAFE, _SAFE_INDEX = ".safetensors", ".safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")

# Bounds of what is looked at beside the weights, so that neither a key nor a download covers a dataset.
_LARGEST = 128 * 2**20  # bytes; the largest vocabularies have a quarter
_DEPTH = 3  # folders
_MANY = 200  # entries of a folder below the top: with more it is data
_FOLDERS = 256  # that are looked into


@dataclass(frozen=True)
class _Patterns:
    """Names of files as a shell matches them, in either case; compiled when asked, for most openings never ask."""

    patterns: tuple[str, ...]

    def match(self, name: str) -> bool:
        return bool(self._compiled.match(name))

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile("|".join(map(translate, self.patterns)), re.IGNORECASE)


def _any_of(*patterns: str) -> _Patterns:
    return _Patterns(patterns)


# Weights that vitrify does not load, and whose they are.
_OTHERS = {
    "GGUF": _any_of("*.gguf"),
    "TensorFlow": _any_of("*.h5", "*.ckpt.index"),
    "Flax": _any_of("*.msgpack"),
    "Rust": _any_of("*.ot"),
    "pickled": _any_of("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt"),
}
_TRAINING = _any_of("training_args.*", "optimizer*", "scheduler*", "scaler*", "rng_state*")
# No `from_pretrained` of a model or a processor reads these, whatever the checkpoint.
_BALLAST = _any_of(
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.ckpt.*", "*.pkl", "*.pickle", "*.gguf", "*.ggml"),
    *("*.safetensors.index*.json", "*.bin.index*.json", "*.h5.index.json", "*.msgpack.index.json"),
    *("*.h5", "*.hdf5", "*.keras", "*.msgpack", "*.ot", "*.pb", "*.nemo", "*.tflite", "*.mlmodel", "*.pte"),
    *("*.onnx", "*.onnx?data*", "*.engine", "*.plan", "*.dduf", "*.llamafile", "openvino_*"),
    *("trainer_state.json", "*_results.json", "events.out.tfevents*", "*.log", "*.out"),
    *("*.parquet", "*.arrow", "*.feather", "*.sqlite", "*.db", "*.lmdb", "*.mdb", "*.zip", "*.tar", "*.tar.*", "*.7z"),
    *("*.md", "*.rst", "*.pdf", "*.html", "*.ipynb", "license*", "licence*", "notice*", "readme*", ".*"),
    *("*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.bmp", "*.svg", "*.ico", "*.tif", "*.tiff"),
    *("*.mp3", "*.wav", "*.flac", "*.ogg", "*.m4a", "*.mp4", "*.avi", "*.mov", "*.mkv", "*.webm"),
    *("*.pyc", "*.lock", "*.tmp", "*.incomplete"),
)
_BALLAST_FOLDERS = _any_of(
    *(".*", "__pycache__", "node_modules", "site-packages", "venv"),
    *("onnx", "openvino*", "coreml*", "*.mlpackage", "*.mlmodelc", "gguf", "original"),
    *("checkpoint-*", "checkpoints*", "global_step*", "runs", "logs", "wandb", "mlruns", "tensorboard", "datasets"),
)


# What a checkpoint says of itself: nothing is compiled from it, so that it enters no key and no provenance.
_LICENSES = _any_of(
    *(f"*{word}*" for word in ("licen[cs]e", "notice", "copying", "copyright", "patents")), "*use_policy*"
)
_NO_DOCUMENT = (".py", ".json", ".jinja", ".toml", ".yaml", ".yml")
_LONGEST_DOCUMENT = 4 * 2**20  # bytes

_OF_RUNS = {MANIFEST, "trainer_state.json", "training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt"}


@dataclass(frozen=True)
class Listing:
    """The files of a repository or a folder, named relative to it with `/`.

    `sizes` lists them, `has` knows those too that a folder's bounded listing leaves out, and `path` says where the
    content of one is, for which it may have to be downloaded.
    """

    where: str
    sizes: Mapping[str, int]
    has: Callable[[str], bool]
    path: Callable[[str], Path]

    @classmethod
    def from_folder(cls, folder: Path) -> "Listing":
        """List a folder: a few levels deep, without folders that are ballast or data."""
        return cls(str(folder), dict(_walk(folder)), lambda name: _is_file(folder / name), lambda name: folder / name)


@dataclass(frozen=True)
class Weights:
    """The files of the weights that transformers loads, the index first where there is one."""

    names: tuple[str, ...]
    pickled: bool = False

    @property
    def shards(self) -> tuple[str, ...]:
        """Those that contain tensors."""
        return tuple(name for name in self.names if not name.endswith(".index.json"))


def checkpoint_files(folder: Path) -> dict[str, Path]:
    """Return the files of a checkpoint's folder that an export may read, by name: settings, code and weights.

    IntegrityError: the index of its weights is malformed, leads out of the folder, or names a file that is missing.
    """
    listing = Listing.from_folder(folder)
    weights = _choose(listing) or Weights(())
    return {name: folder / name for name in sorted({*settings_of(listing, code=True), *weights.names})}


def documents_of(listing: Listing) -> list[str]:
    """Return the model card and the licenses, which lie at the top."""
    return sorted(name for name, size in listing.sizes.items() if size <= _LONGEST_DOCUMENT and _is_document(name))


def _is_document(name: str) -> bool:
    return name == CARD or is_license(name)


def is_license(name: str) -> bool:
    """Tell whether a file at the top of a repository is a license, a notice or a policy, by its name."""
    return "/" not in name and bool(_LICENSES.match(name)) and not name.lower().endswith(_NO_DOCUMENT)


def settings_of(listing: Listing, *, code: bool) -> list[str]:
    """Return all but the weights and what is known to be of no use; Python files only with `code`."""
    data = _data_folders(listing.sizes)
    small = (name for name, size in listing.sizes.items() if size <= _LARGEST and not _is_document(name))
    return sorted(
        name for name in small if (code or not name.endswith(".py")) and not _is_ballast(PurePosixPath(name), data)
    )


def weights_of(listing: Listing, *, allow_pickle: bool = False) -> Weights:
    """Return the weights that transformers would load.

    Raises
    ------
    UsageError
        There are none.
    UnsupportedError
        They are an adapter's or another framework's, or pickled, and `allow_pickle` is not given.
    IntegrityError
        See `checkpoint_files`.

    """
    refuse_other_weights(listing)
    weights = _choose(listing)
    if weights is None:
        there = sorted(name for name in listing.sizes if name.endswith(_SAFE))
        reason = (
            f"no configuration says to load {', '.join(there[:3])}"
            if there
            else "it is not a checkpoint of transformers"
        )
        raise UsageError(f"'{listing.where}' contains no {SINGLE}: {reason}")
    if weights.pickled and not allow_pickle:
        pickle = next(name for name in weights.names if not name.endswith((_SAFE, _SAFE_INDEX)))
        raise UnsupportedError(
            f"'{listing.where}' contains pickled weights only ({pickle}): a pickle can run code when it is "
            "opened. Use a revision with model.safetensors, or accept the risk with --allow-pickle"
        )
    return weights


def refuse_other_weights(listing: Listing) -> None:
    """Raise UnsupportedError for an adapter, and where all weights are those of other frameworks."""
    if ADAPTER in listing.sizes:
        raise UnsupportedError(
            f"'{listing.where}' is a PEFT adapter, not a checkpoint: merge it into its base model first"
        )
    top = [name for name in listing.sizes if "/" not in name]
    if has_weights(top, allow_pickle=True) or any(name.endswith(_SAFE) for name in top):
        return
    for kind, pattern in _OTHERS.items():
        if found := sorted(name for name in top if pattern.match(name) and not _TRAINING.match(name)):
            raise UnsupportedError(
                f"'{listing.where}' contains {kind} weights only ({found[0]}): vitrify reads {SINGLE}. Take the "
                "original checkpoint, or a revision with safetensors"
            )


def has_weights(names: Collection[str], *, allow_pickle: bool = False) -> bool:
    """Tell whether these names are those of a checkpoint that can be compiled, or of an adapter."""
    return any(name in names for name in (SINGLE, INDEX, ADAPTER, *(_PICKLES if allow_pickle else ())))


def has_pickles(folder: Path) -> bool:
    """Tell whether a folder's weights are to be converted first."""
    return any(weights.pickled for weights in weights_by_folder(folder).values())


def weights_by_folder(folder: Path) -> dict[str, Weights]:
    """Return the weights of a checkpoint by the folder that they are in: "", and of modules the names of theirs."""
    listing = Listing.from_folder(folder)
    found = {place: _chosen_in(listing, place) for place in _places(listing)}
    return {place: weights for place, weights in found.items() if weights is not None}


def json_of(folder: Path) -> Read:
    """Return what reads a JSON file of a checkpoint's folder, by name; None for one that is not there or is no JSON."""
    listing = Listing.from_folder(folder)
    return lambda name: _read_json(listing, name) if listing.has(name) else None


def pickled_shards(folder: Path) -> list[Path]:
    """Return the files that contain a folder's pickled weights."""
    weights = _first(Listing.from_folder(folder), _PICKLES)
    if weights is None:
        raise UsageError(f"'{folder.name}' contains no weights: neither {SINGLE} nor {_PICKLES[0]}")
    return [folder / name for name in weights.shards]


def _choose(listing: Listing) -> Weights | None:
    """Return what is loaded: by transformers and, of a checkpoint with modules, for each of them that has weights.

    None where the transformer itself has none.
    """
    places = _places(listing)
    found = {place: _chosen_in(listing, place) for place in places}
    if any(found[place] is None for place, is_needed in places.items() if is_needed):
        return None
    every = [weights for weights in found.values() if weights is not None]
    names = tuple(name for weights in every for name in weights.names)
    return Weights(names, pickled=any(weights.pickled for weights in every)) if names else None


def _places(listing: Listing) -> dict[str, bool]:
    """Return the folders that weights are looked for in, and whether they must be there."""
    where, read = listing.where, lambda name: _read_json(listing, name) if listing.has(name) else None
    modules = list(flattened(listed(read, where), read, where)) if listing.has(MODULES) else []
    found = {module.path: module.kind == TRANSFORMER for module in modules}
    return found or {"": True}


def _chosen_in(listing: Listing, folder: str) -> Weights | None:
    """Return what transformers would load of a folder: what the config names, else safetensors, else pickles."""
    named = _named_by_config(listing, folder)
    return _first(listing, (named,) if named else [_inside(folder, name) for name in (SINGLE, INDEX, *_PICKLES)])


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _first(listing: Listing, names: Collection[str]) -> Weights | None:
    name = next((name for name in names if listing.has(name)), None)
    if name is None:
        return None
    shards = _shards(listing, name) if name.endswith(".index.json") else ()
    return Weights((name, *shards), pickled=not name.endswith((_SAFE, _SAFE_INDEX)))


def _named_by_config(listing: Listing, folder: str) -> str | None:
    file = _inside(folder, CONFIG)
    if not listing.has(file) or not any(name.endswith(_SAFE) for name in listing.sizes):
        return None
    config = _read_json(listing, file)
    name = config.get(_EXPLICIT) if isinstance(config, dict) else None
    if name is None:
        return None
    _check_name(listing, file, name, (_SAFE, _SAFE_INDEX))
    return _inside(folder, name)


def _shards(listing: Listing, index: str) -> list[str]:
    """Return the files that an index names; those of a safetensors index must not be pickles."""
    content = _read_json(listing, index)
    table = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(table, dict) or not table:
        raise IntegrityError(f"'{index}' of '{listing.where}' is not an index of shards: download the checkpoint again")
    names = sorted({str(name) for name in table.values()})
    for name in names:
        _check_name(listing, index, name, (_SAFE,) if _SAFE in index else (".bin", ".pt", ".pth", ".ckpt"))
    return [_inside(index.rpartition("/")[0], name) for name in names]


def _check_name(listing: Listing, by: str, name: Any, endings: tuple[str, ...]) -> None:
    """Raise IntegrityError unless the name is that of a file of this kind, inside the checkpoint."""
    parts = PurePosixPath(name).parts if isinstance(name, str) else ("..",)
    if ".." in parts or "\\" in name or name.startswith("/") or not name.endswith(endings):
        raise IntegrityError(
            f"'{by}' of '{listing.where}' names {brief(name)}, which is not a file of the checkpoint: do not trust it"
        )
    if not listing.has(_inside(by.rpartition("/")[0], name)):
        raise IntegrityError(
            f"'{by}' of '{listing.where}' names {brief(name)}, which is missing: download the checkpoint again"
        )


def _read_json(listing: Listing, name: str) -> Any:
    """Return the content, or None for what cannot be read as JSON."""
    if listing.sizes.get(name, 0) > _LARGEST:
        return None
    try:
        return json.loads(listing.path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _is_ballast(path: PurePosixPath, data: Collection[str]) -> bool:
    *folders, name = path.parts
    if len(folders) > _DEPTH or any(_BALLAST_FOLDERS.match(folder) for folder in folders):
        return True
    unwanted = _BALLAST.match(name) or _TRAINING.match(name)
    return bool(unwanted) or any(str(parent) in data for parent in path.parents)


def _data_folders(names: Collection[str]) -> set[str]:
    """Return the folders below the top that are bundles, a training's states, or data by their number of entries."""
    entries: dict[str, set[str]] = {}
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), set()).add(parts[depth])
    return {folder for folder, inside in entries.items() if len(inside) > _MANY or not _OF_RUNS.isdisjoint(inside)}


def _walk(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the files of a folder and of those below, with their sizes; what cannot be read is left out."""
    waiting = [("", 0)]
    for prefix, depth in itertools.islice(waiting, _FOLDERS):  # it grows meanwhile
        for entry in _entries(folder / prefix, most=_MANY if depth else None):
            name = f"{prefix}{entry.name}"
            with contextlib.suppress(OSError):  # links that go in circles, files that have gone
                if entry.is_file() and os.access(entry.path, os.R_OK):
                    yield name, entry.stat().st_size
                elif depth < _DEPTH and entry.is_dir() and not _BALLAST_FOLDERS.match(entry.name):
                    # A link may lead anywhere, back here too: its files count, its folders do not.
                    waiting.append((f"{name}/", _DEPTH if entry.is_symlink() else depth + 1))


def _entries(folder: Path, *, most: int | None) -> list[os.DirEntry[str]]:
    """Return a folder's entries in order; none where it has more than `most` or cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = list(itertools.islice(found, None if most is None else most + 1))
    except OSError:
        return []
    if most is not None and len(entries) > most:
        return []
    return sorted(entries, key=lambda entry: entry.name)
