"""A folder that is there whole or not at all: written under a sibling's name, flushed, renamed."""

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from filelock import FileLock, Timeout

from ..runtime.bundle.manifest import MANIFEST
from ..runtime.errors import EnvironmentMissing, UsageError

# A temporary folder holds the lock of the process that fills it, what will be renamed, and briefly what it replaces.
_LOCK, _CONTENT, _ASIDE = "lock", "content", "old"
_ELSEWHERE = "no folder can be created there: choose another folder with -o"
# Before anything is in a folder, what is missing is the folder: no file system makes every one.
_NOT_MADE: Mapping[int | None, str] = MappingProxyType(
    dict.fromkeys((errno.ENOENT, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.ELOOP), _ELSEWHERE)
)
_REASONS: Mapping[int | None, str] = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "it is on a read-only file system: choose another folder with -o",
    errno.EACCES: "no permission to write there: choose another folder with -o",
    errno.EPERM: "no permission to write there: choose another folder with -o",
    errno.ENOTDIR: "a part of its path is a file: choose another folder with -o",
    errno.EEXIST: "a part of its path is a file: choose another folder with -o",
    errno.ENAMETOOLONG: "its name is too long: choose another folder with -o",
}


@contextlib.contextmanager
def staged(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of `folder` that becomes `folder` when the block ends well, and vanishes otherwise.

    What killed runs left beside `folder` is removed first. An existing folder is replaced only with `force`, and only
    if it is a bundle or empty.

    Raises
    ------
    UsageError
        The folder exists and may not be replaced.
    EnvironmentMissing
        The disk is full, read-only, or may not be written to.

    """
    folder = folder.absolute()
    with explained(folder, _NOT_MADE):
        _remove_stale(folder)
        _refuse_existing(folder, force=force)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder.parent))
    try:
        with explained(folder), FileLock(temporary / _LOCK):
            content = temporary / _CONTENT
            content.mkdir()
            yield content
            _flush(content)
            _refuse_existing(folder, force=force)  # another export may have made it meanwhile
            _replace(content, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def explained(folder: Path, more: Mapping[int | None, str] = MappingProxyType({})) -> Iterator[None]:
    """Turn an OSError about space, permissions or `more` into EnvironmentMissing that names the folder."""
    try:
        yield
    except OSError as error:
        reason = more.get(error.errno, _REASONS.get(error.errno))
        if isinstance(error, EnvironmentMissing) or reason is None:
            raise
        raise EnvironmentMissing(f"cannot write '{folder}': {reason}") from error


def _refuse_existing(folder: Path, *, force: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise UsageError(f"'{folder}' exists and is not a folder: choose another one with -o")
    if not any(folder.iterdir()):
        return
    if not (folder / MANIFEST).is_file():
        replaces = ", and --force replaces bundles only" if force else ""
        raise UsageError(f"'{folder}' exists and is not a bundle{replaces}: choose another folder with -o")
    if not force:
        raise UsageError(f"'{folder}' exists: choose another folder with -o, or replace it with --force")


def _prefix(folder: Path) -> str:
    return f".{folder.name}.vitrify-"


def _remove_stale(folder: Path) -> None:
    """Remove temporary folders that no running export holds, their owners were killed; an old bundle comes back."""
    for path in folder.parent.glob(f"{glob.escape(_prefix(folder))}*"):
        try:
            with FileLock(path / _LOCK, timeout=0):
                if (path / _ASIDE).exists() and not folder.exists():
                    (path / _ASIDE).rename(folder)
                shutil.rmtree(path, ignore_errors=True)
        except (Timeout, OSError):
            continue


def _flush(content: Path) -> None:
    for path in content.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # some writers make files that only their owner reads
            with path.open("r+b") as file:  # Windows flushes only what may be written
                os.fsync(file.fileno())


def _replace(content: Path, folder: Path) -> None:
    """Rename; an old bundle steps aside first and comes back if the rename fails."""
    aside = content.parent / _ASIDE
    if folder.exists():
        folder.rename(aside)
    try:
        content.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
