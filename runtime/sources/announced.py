"""A file as the Hub announces it: its size and its digest bound what is downloaded; it knows no repository."""

import hashlib
import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..bundle.digests import SHA256, file_digest
from ..errors import EnvironmentMissing, IntegrityError
from ..json_files import brief
from .answers import PATIENCE, Patience, download

_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Announced:
    """A file's bytes: how many, and the digest that names them on the Hub.

    It is the sha256 of a large file, and of others git's: the sha1 of a header and the content.
    """

    key: str
    size: int

    @classmethod
    def of(cls, name: str, row: Mapping[str, Any]) -> Self:
        """Return what a row of the Hub's answer announces; raise EnvironmentMissing where it lacks a digest."""
        lfs = row.get("lfs") or {}
        key = lfs.get("sha256") if lfs else row.get("blobId")
        if not isinstance(key, str) or not (SHA256 if lfs else _SHA1).fullmatch(key):
            raise EnvironmentMissing(
                f"the Hub's answer announces no digest of '{name:.80}': check HF_ENDPOINT, or a proxy in between"
            )
        return cls(key, checked_size(name, (lfs or row).get("size")))

    def check(self, path: Path) -> None:
        """Raise IntegrityError unless a file is what was announced."""
        if self._digest(path) != self.key:
            raise IntegrityError(f"what the Hub sent is not the file it announced ({self.key[:12]}): run again")

    def _digest(self, path: Path) -> str:
        if SHA256.fullmatch(self.key):
            return file_digest(path)
        made = hashlib.sha1(b"blob %d\0" % path.stat().st_size)  # noqa: S324 - as git names it
        with path.open("rb") as file:
            while block := file.read(2**20):
                made.update(block)
        return made.hexdigest()


def checked_size(name: str, size: Any) -> int:
    """Return a size in bytes that the Hub says; raise IntegrityError where it is none."""
    if type(size) is not int or size < 0:
        raise IntegrityError(f"the Hub's answer gives '{name:.80}' {brief(size)} bytes: do not trust it")
    return size


def resume(
    url: str, partial: Path, content: Announced, *, headers: Mapping[str, str], patience: Patience = PATIENCE
) -> None:
    """Download what `partial` lacks of the file, no more than was announced, and check the whole."""
    if partial.exists() and partial.stat().st_size > content.size:
        partial.unlink()
    try:
        with partial.open("ab", buffering=0) as file, _bar(url, content.size, file.tell()) as bar:
            download(url, file, size=content.size, headers=headers, bar=bar, patience=patience)
        content.check(partial)
    except IntegrityError:
        partial.unlink()
        raise


def _bar(url: str, size: int, there: int) -> AbstractContextManager[Any]:
    """Return a progress bar, silent where stderr is not a terminal."""
    from huggingface_hub.utils import tqdm

    name = url.rpartition("/")[2]
    return tqdm(desc=name, total=size, initial=there, unit="B", unit_scale=True, disable=not sys.stderr.isatty())
