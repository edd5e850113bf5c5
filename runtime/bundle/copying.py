"""A bundle's files and their copy in another folder: what it lists, its manifest, reports and documents, no more."""

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from ..errors import EnvironmentMissing, UsageError
from .checkpoint_files import is_license
from .manifest import CARD, MANIFEST, REPORTS, Bundle


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
    names = bundle_files(bundle)
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


def bundle_files(bundle: Bundle) -> Collection[str]:
    """Return the names of all that belongs to a bundle: what it lists, and what no digest covers.

    Those are its manifest, reports, card, and licenses that were added to it. Raises IntegrityError for a listed file
    that was changed, and for one of them that is a link.
    """
    for name in bundle.files:
        bundle.check(name)
    top = [path for path in sorted(bundle.folder.iterdir()) if path.name in {MANIFEST, CARD} or is_license(path.name)]
    more = [path for path in (*top, *sorted((bundle.folder / REPORTS).glob("*"))) if path.is_file()]
    names = [path.relative_to(bundle.folder).as_posix() for path in more]
    for name in names:
        bundle.path(name)
    return sorted({*bundle.files, *names})
