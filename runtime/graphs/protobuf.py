"""The messages of a protobuf file, read from its mapped bytes without a schema; it knows no format.

Values are slices of the file, so what is skipped costs neither time nor memory. Where readers could disagree on what a
byte means, the file is refused.
"""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import IntegrityError

Value = int | memoryview

_POINTER = b"version https://git-lfs"
_FIXED = {1: 8, 5: 4}
_SMALLEST_KEY = 8  # fields are numbered from 1 on
_LARGEST_KEY = 2**32  # of a field's number and kind; other readers drop the bits above
_LONGEST = 70
_MORE = 128  # a byte from here on is not its number's last


@contextmanager
def reading(path: Path) -> Iterator[memoryview]:
    """Map a file; an error while it is read within is an IntegrityError that says what the file is not."""
    if not path.is_file():
        raise IntegrityError(f"graph '{path}' is missing: export or copy the bundle again")
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if content[: len(_POINTER)] == _POINTER:
            raise IntegrityError(f"'{path}' is a pointer of Git LFS, not the graph: run 'git lfs pull' in its folder")
        yield memoryview(content)
    except (ValueError, LookupError, OSError) as error:
        reason = str(error) or type(error).__name__
        raise IntegrityError(
            f"'{path}' is not an ONNX graph, or only a part of one ({reason}): get the file again"
        ) from error


def fields(content: memoryview) -> Iterator[tuple[int, Value]]:
    """Yield the number and the value of each field of a message (https://protobuf.dev/programming-guides/encoding)."""
    at, end = 0, len(content)
    while at < end:
        key = content[at]
        at += 1
        if key >= _MORE:
            key, at = _key(content, at - 1)
        kind = key & 7
        if key < _SMALLEST_KEY:
            raise ValueError("it is not protobuf")
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        size, at = _varint(content, at) if kind == 2 else (_FIXED.get(kind, end + 1), at)
        if at + size > end:
            raise ValueError("it is truncated or not protobuf")
        yield key >> 3, content[at : at + size]
        at += size


def message(value: Value | bytes) -> memoryview:
    """Return the bytes of a field; raise ValueError where it is a number."""
    if isinstance(value, int):
        raise ValueError("it is not ONNX")  # noqa: TRY004 - a file's content is wrong, not an argument's type
    return memoryview(value)


def text(value: Value) -> str:
    """Return a field's text; raise ValueError where it is none."""
    return bytes(message(value)).decode("utf-8")


def _key(content: memoryview, at: int) -> tuple[int, int]:
    key, at = _varint(content, at)
    if key >= _LARGEST_KEY:
        raise ValueError("it is not protobuf")
    return key, at


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value, at = content[at], at + 1
    if value < _MORE:
        return value, at
    value &= _MORE - 1
    for shift in range(7, _LONGEST, 7):
        byte, at = content[at], at + 1
        value |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return value, at
    raise ValueError("it is not protobuf")
