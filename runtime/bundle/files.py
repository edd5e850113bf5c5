"""Files of a bundle's folder: paths that do not leave it, and writes that are whole or not there."""

import contextlib
import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from ..errors import IntegrityError


def given_name(folder: Path) -> str:
    """Return a folder's name as it was given: a link keeps its own, `.` has that of the folder that it stands for."""
    return Path(os.path.abspath(folder)).name  # noqa: PTH100 - resolve() follows links


def real_path(folder: Path, name: str) -> Path:
    """Return the path of a bundle's file; raise IntegrityError if it is missing, a link or outside its folder."""
    parts = Path(name).parts
    # As any system reads it: a bundle travels, and on Windows a drive or a backslash leaves the folder too.
    if not parts or any(each.anchor or ".." in each.parts for each in (PurePosixPath(name), PureWindowsPath(name))):
        raise IntegrityError(f"bundle '{folder}' names '{name}', which leaves its folder: do not use it")
    path = folder
    try:
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise IntegrityError(f"'{path}' is a link: a bundle contains real files only. Copy it with 'cp -rL'")
        is_there = path.is_file()
    except OSError as error:  # a name that no file can have
        raise IntegrityError(
            f"bundle '{folder}' names {name!r:.80}, which cannot be read ({error.strerror}): export or copy it again"
        ) from error
    if not is_there:
        raise IntegrityError(f"'{path}' is missing: the bundle is incomplete, export or copy it again")
    return path


def replace_synced(path: Path, text: str) -> None:
    """Write a file that is there with its new text or as it was before."""
    unfinished = path.with_name(f".{path.name}")
    try:
        write_synced(unfinished, text)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise


def write_synced(path: Path, text: str) -> None:
    """Write `text` and flush it to the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
