"""Lines of bytes as text: UTF-8 with or without a BOM, any line end, each with its number; it knows no format."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import UsageError

_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line from 1 on, its text or why it has none, and how many bytes end with it."""

    number: int
    text: str
    error: UsageError | None
    end: int


def read_lines(stream: Iterable[bytes], name: str) -> Iterator[Line]:
    """Yield the lines without their ends; errors call the stream `name`."""
    end = 0
    for number, line in enumerate(stream, 1):
        end += len(line)
        content = line.removeprefix(_BOM) if number == 1 else line
        content = content.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield Line(number, content.decode("utf-8"), None, end)
        except UnicodeDecodeError as error:
            why = f"{name} line {number} is not valid UTF-8 (byte {error.start}): convert it first"
            yield Line(number, "", UsageError(why), end)
