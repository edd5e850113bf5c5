"""The sha256 of files, remembered per machine by inode, size and modification time; it knows nothing of bundles."""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import EnvironmentMissing

SHA256 = re.compile(r"[0-9a-f]{64}")


def cache_folder(kind: str | None = None) -> Path:
    """Return this user's cache of vitrify: `VITRIFY_CACHE`, else `XDG_CACHE_HOME`/vitrify, else ~/.cache/vitrify.

    With a `kind`, the folder in it to be read and written; raises EnvironmentMissing where that is another user's.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(os.environ.get("VITRIFY_CACHE") or (Path(base) if base else Path.home() / ".cache") / "vitrify")
    return root if kind is None else _own(root / kind, root)


def _own(folder: Path, root: Path) -> Path:
    """Return a folder of this user, of root or of whom the cache belongs to; what runs here comes from it."""
    with contextlib.suppress(OSError):
        owner, trusted = folder.lstat().st_uid, {0, root.stat().st_uid}
        if hasattr(os, "geteuid") and owner not in {*trusted, os.geteuid()}:
            raise EnvironmentMissing(
                f"'{folder}' in the cache belongs to another user (uid {owner}), who may change its content: point "
                "VITRIFY_CACHE to a folder of your own"
            )
    return folder


@contextlib.contextmanager
def writing_cache(folder: Path) -> Iterator[None]:
    """Make a folder of the cache, to be written into; raise EnvironmentMissing with what to do where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise EnvironmentMissing(
            f"the cache '{folder}' cannot be written ({error.strerror}): point VITRIFY_CACHE elsewhere"
        ) from error


def value_digest(value: Any) -> str:
    """Return the sha256 of plain values as JSON with sorted keys, in hexadecimal."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def cache_key(*parts: Any) -> str:
    """Return the name in the cache of what depends on these plain values: 32 hexadecimal digits."""
    return value_digest(parts)[:32]


def file_digest(path: Path) -> str:
    """Return the sha256 of the file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_digest(path: Path, *, memory: Path | None = None) -> str:
    """Return the sha256 of the file, computed only if its inode, size or modification time is new to this machine.

    `memory` is the folder of remembered digests (default: under the user's cache). Where it cannot be written the
    digest is computed each time.
    """
    status = path.stat()
    key = f"{path.resolve()}:{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
    folder = memory or cache_folder("digests")
    note = folder / hashlib.sha256(key.encode()).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        if SHA256.fullmatch(known := note.read_text(encoding="ascii")):
            return known
    digest = file_digest(path)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:  # nothing is left where the disk is full
            written = Path(scratch) / note.name
            written.touch(mode=0o600)
            written.write_text(digest, encoding="ascii")
            written.replace(note)
    return digest
