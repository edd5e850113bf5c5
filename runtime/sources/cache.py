"""What lies in the user's cache of vitrify: compiled checkpoints, downloads, tuned choices; it loads none of it."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ..bundle.digests import cache_folder
from ..bundle.manifest import MANIFEST, Bundle
from ..errors import EnvironmentMissing, IntegrityError, UsageError, VitrifyError

_DAY = 86_400.0


@dataclass(frozen=True)
class Entry:
    """One thing in the cache: its `kind`, its `key` within it, what it is of, its size in bytes and its age in days."""

    kind: str
    key: str
    name: str
    path: Path
    bytes: int
    days: float

    @property
    def where(self) -> str:
        """The word by which it is named."""
        return f"{self.kind}/{self.key}"


def list_cache(root: Path | None = None) -> list[Entry]:
    """Return everything in the cache, by kind, the newest first."""
    root = root or cache_folder()
    found = [entry for kind, list_kind in _KINDS.items() for entry in list_kind(root / kind, kind)]
    return sorted(found, key=lambda entry: (list(_KINDS).index(entry.kind), entry.days))


def find_entries(words: Sequence[str], entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries that words name: by kind, `kind/key`, the beginning of a key, or what they are of.

    Raises UsageError for a word that names none.
    """
    chosen: dict[Path, Entry] = {}
    for word in words:
        named = [entry for entry in entries if _is_named(entry, word)]
        if not word or not named:
            raise UsageError(f"nothing in the cache is called '{word}': see vitrify cache ls")
        chosen |= {entry.path: entry for entry in named}
    return list(chosen.values())


def _is_named(entry: Entry, word: str) -> bool:
    return word in {entry.kind, entry.name} or entry.key.startswith(word) or entry.where.startswith(word)


def remove_entries(entries: Sequence[Entry]) -> int:
    """Remove entries and return how many bytes that freed; raise EnvironmentMissing for one in use, or not ours."""
    for entry in entries:
        try:
            with FileLock(f"{entry.path}.lock", timeout=0):
                shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink(missing_ok=True)
            Path(f"{entry.path}.lock").unlink(missing_ok=True)
        except Timeout as error:
            raise EnvironmentMissing(f"'{entry.where}' is being written by another process: try again later") from error
        except OSError as error:
            raise EnvironmentMissing(f"'{entry.where}' cannot be removed ({error.strerror})") from error
    return sum(entry.bytes for entry in entries)


def outdated(entries: Sequence[Entry], *, days: float) -> list[Entry]:
    """Return the entries that nobody has written or read for so many days."""
    return [entry for entry in entries if entry.days > days]


def check_entry(entry: Entry) -> str | None:
    """Return what is wrong with an entry, None if nothing is; every file of a bundle is read."""
    try:
        if (entry.path / MANIFEST).is_file():
            bundle = Bundle.read(entry.path)
            for name in bundle.files:
                bundle.check(name, always=True)
        elif entry.kind == "bundles":
            raise IntegrityError(f"it has no {MANIFEST}")
        elif entry.path.suffix == ".json":
            json.loads(entry.path.read_text(encoding="utf-8"))
    except (VitrifyError, OSError, ValueError) as error:
        return str(error)
    return None


def _bundles(folder: Path, kind: str) -> Iterator[Entry]:
    for path in _children(folder):
        if path.is_dir():
            yield _entry(kind, path.name, _source_of(path), path)


def _downloads(folder: Path, kind: str) -> Iterator[Entry]:
    for path in _children(folder):
        if path.is_dir():
            yield _entry(kind, path.name, path.name.replace("--", "/"), path)


def _records(folder: Path, kind: str) -> Iterator[Entry]:
    for path in _children(folder):
        if path.suffix == ".json":
            yield _entry(kind, path.stem, _bundle_of(path), path)


def _folders(folder: Path, kind: str) -> Iterator[Entry]:
    for path in _children(folder):
        if path.is_dir() or path.suffix != ".lock":
            yield _entry(kind, path.name, "", path)


def _whole(folder: Path, kind: str) -> Iterator[Entry]:
    """Yield a folder of many small files as one entry."""
    if any(_children(folder)):
        yield _entry(kind, "", "sha256 of files", folder)


# The folders of the cache, and what of each is an entry.
_KINDS: dict[str, Callable[[Path, str], Iterator[Entry]]] = {
    "bundles": _bundles,
    "hub": _downloads,
    "tuned": _records,
    "prepacked": _folders,
    "tensorrt": _folders,
    "digests": _whole,
}


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _entry(kind: str, key: str, name: str, path: Path) -> Entry:
    files = [path, *(path.rglob("*") if path.is_dir() else ())]
    states = {file: file.lstat() for file in files if not file.is_dir() and (file.is_symlink() or file.exists())}
    # A list of the cache reads JSON itself: only when it was written counts.
    used = (max(state.st_mtime, 0 if file.suffix == ".json" else state.st_atime) for file, state in states.items())
    days = max(0.0, time.time() - max(used, default=0.0)) / _DAY
    return Entry(kind, key, name, path, sum(state.st_size for state in states.values()), days)


def _source_of(path: Path) -> str:
    try:
        return str(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["source"]["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unfinished" if path.name.startswith(".") else "unknown"


def _bundle_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["bundle"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown"
