"""A file as the Hub announces it: its size and its digest bound what is downloaded; it knows no repository."""

import re
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..bundle.digests import SHA256, cache_key, file_digest
from ..errors import IntegrityError
from ..json_files import brief
from .answers import PATIENCE, Patience, download

_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Announced:
    """A file's bytes: how many, and what names them: the sha256 of a large file, which is checked, of others an id.

    Hubs other than Hugging Face's make ids of small files otherwise than git does, or say none.
    """

    key: str
    size: int

    @classmethod
    def of(cls, name: str, row: Mapping[str, Any], commit: str) -> Self:
        """Return what a row of the Hub's answer announces of a commit's file; raise IntegrityError for another type."""
        lfs = row.get("lfs") or {}
        key = lfs.get("sha256") if lfs else row.get("blobId")
        if lfs and not (isinstance(key, str) and SHA256.fullmatch(key)):
            raise IntegrityError(f"the Hub's answer gives '{name:.80}' the sha256 {brief(key)}: do not trust it")
        if not (isinstance(key, str) and (lfs or _SHA1.fullmatch(key))):
            key = cache_key(commit, name)
        return cls(key, checked_size(name, (lfs or row).get("size")))

    def check(self, path: Path) -> None:
        """Raise IntegrityError unless a large file is what was announced."""
        if SHA256.fullmatch(self.key) and file_digest(path) != self.key:
            raise IntegrityError(f"what the Hub sent is not the file it announced ({self.key[:12]}): run again")


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
