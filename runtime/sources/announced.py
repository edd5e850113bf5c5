"""A file as the Hub announces it: its size and its digest bound what is downloaded; it knows no repository."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..bundle.digests import SHA256, file_digest
from ..errors import IntegrityError
from ..json_files import brief

_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Announced:
    """A file's bytes: how many, and the digest that names them on the Hub.

    It is the sha256 of a large file, and of others git's: the sha1 of a header and the content.
    """

    key: str
    size: int

    @classmethod
    def of(cls, item: Any) -> Self | None:
        """Return what a row of the Hub's answer announces; None where it lacks a digest."""
        lfs = item.lfs
        key, size = (item.blob_id, item.size) if lfs is None else (lfs.sha256, lfs.size)
        right = isinstance(key, str) and (_SHA1 if lfs is None else SHA256).fullmatch(key)
        return cls(key, size) if right and type(size) is int and size > 0 else None

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


def checked_size(model: str, name: str, size: Any) -> int:
    """Return a size in bytes that the Hub says; raise IntegrityError where it is none."""
    if size is not None and (type(size) is not int or size < 0):
        raise IntegrityError(f"the Hub's answer for '{model}' gives '{name:.80}' {brief(size)} bytes: do not trust it")
    return size or 0


def resume(url: str, partial: Path, content: Announced, *, headers: dict[str, str]) -> None:
    """Download what `partial` lacks of the file, no more than was announced, and check the whole."""
    from huggingface_hub.file_download import http_get

    if partial.exists() and partial.stat().st_size > content.size:
        partial.unlink()
    try:
        with partial.open("ab") as file:
            bounded: Any = _Bounded(file, content)
            http_get(url, bounded, resume_size=file.tell(), headers=headers, expected_size=content.size)
        content.check(partial)
    except IntegrityError:
        partial.unlink()
        raise


class _Bounded:
    """A file that takes no more bytes than were announced: a server may send, or pack, any number."""

    def __init__(self, file: BinaryIO, content: Announced) -> None:
        self._file, self._content = file, content
        self.tell, self.seek, self.truncate, self.flush = file.tell, file.seek, file.truncate, file.flush

    def write(self, data: bytes) -> int:
        """Write as the file does."""
        if self._file.tell() + len(data) > self._content.size:
            raise IntegrityError(
                f"the Hub sends more than the {self._content.size} bytes that it announced "
                f"({self._content.key[:12]}): run again, or do not trust it"
            )
        return self._file.write(data)
