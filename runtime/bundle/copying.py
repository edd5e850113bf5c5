"""A bundle's files, copied to another folder: all that it lists and its manifest, and nothing else."""

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from ..errors import EnvironmentMissing, UsageError
from .manifest import MANIFEST, REPORTS, Bundle


def copy_bundle(bundle: Bundle, folder: str | Path) -> Path:
    """Copy a bundle into a new folder, which is there whole or not at all, and return that.

    Raises
    ------
    UsageError
        There is something in the folder already.
    IntegrityError
        A file was changed, is missing or is a link.
    EnvironmentMissing
        The folder cannot be written.

    """
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"'{target}' exists and is not an empty folder: choose another one")
    names = _names(bundle)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
            made = Path(scratch, "bundle")
            for name in names:
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path(name), made / name)
            if target.exists():
                target.rmdir()
            made.rename(target)
    except OSError as error:
        raise EnvironmentMissing(f"the bundle cannot be written to '{target}': {error.strerror}") from error
    return target


def _names(bundle: Bundle) -> Collection[str]:
    """Return the names of the listed files, of the manifest and of the reports, which no digest covers."""
    others = [bundle.folder / MANIFEST, *sorted((bundle.folder / REPORTS).glob("*"))]
    for name in bundle.files:
        bundle.check(name)
    return [*bundle.files, *(path.relative_to(bundle.folder).as_posix() for path in others if path.is_file())]
