"""What decoding an image may cost: pixels, reads, strips and scans are bounded; some bytes are enough for hours.

It decodes nothing; what it knows of a format is only where its costs are written.
"""

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from ...errors import UsageError

if TYPE_CHECKING:
    import PIL.ImageFile

MAX_PIXELS = 89_478_485
"""The largest image that is decoded, in pixels: where Pillow warns of a bomb."""

# The largest images whose decoders cost a multiple of others: 20 bytes a pixel and 50 ns, or the speed of Python.
_PIXELS_OF_FORMAT: Mapping[str | None, int] = {"WEBP": 2**25, "JPEG2000": 2**25, "AVIF": 2**25}
_PIXELS_OF_CODEC: Mapping[str, int] = {"ppm_plain": 2**21, "bmp_rle": 2**22}

_MAX_FILE = 2**30
_MAX_READS = 2**18  # what Pillow reads byte by byte, or chunk by chunk, it reads in Python
_MAX_VALUES = 2**18  # of one tag of TIFF: strips, of which an image has one for each row and channel at most
_MAX_SCANNED = 2**32  # pixels times scans: a scan of 31 bytes goes over all pixels of a progressive JPEG
_SCAN = b"\xff\xda"
_TEXTS = {1, 2, 7}  # types of TIFF whose values are bytes
# After the magic number of TIFF: how the first directory's place, its length, an entry, and an entry's size are stored.
_TIFFS = {42: ("I", 4, "H", "HHI", 12), 43: ("Q", 8, "Q", "HHQ", 20)}


class CountedReads:
    """A binary file that Pillow reads a bounded number of times."""

    def __init__(self, stream: BinaryIO, what: str) -> None:
        self._stream, self._what, self._reads = stream, what, 0
        self.seek, self.tell, self.close = stream.seek, stream.tell, stream.close

    def read(self, size: int = -1) -> bytes:
        """Read as the file does."""
        self._reads += 1
        if self._reads > _MAX_READS:
            raise UsageError(f"{self._what} is made of more than {_MAX_READS} pieces, so not decoded")
        return self._stream.read(size)


def check_file(stream: BinaryIO, what: str) -> None:
    """Raise UsageError for a file that is empty, too large, or in more pieces than an image has; rewind it."""
    size = stream.seek(0, 2)
    stream.seek(0)
    if not size:
        raise UsageError(f"{what} is empty, so not an image")
    if size > _MAX_FILE:
        raise UsageError(f"{what} has {size} bytes (allowed: {_MAX_FILE})")
    if (values := _values_of_tiff(stream)) > _MAX_VALUES:
        raise UsageError(f"{what} is a TIFF with a tag of {values} values (allowed: {_MAX_VALUES})")
    stream.seek(0)


def check_pixels(width: int, height: int, what: str, allowed: int = MAX_PIXELS) -> None:
    """Raise UsageError for more pixels than are decoded."""
    if width * height > allowed:
        raise UsageError(f"{what} has {width} x {height} = {width * height} pixels (allowed: {allowed})")


def check_effort(image: "PIL.ImageFile.ImageFile", stream: BinaryIO, what: str) -> None:
    """Raise UsageError for an image that was opened, and whose decoder would take too much memory or time."""
    codecs = {str(tile[0]) for tile in image.tile}
    limits = [_PIXELS_OF_FORMAT.get(image.format, MAX_PIXELS), *map(_PIXELS_OF_CODEC.get, codecs)]
    allowed = min(limit for limit in limits if limit is not None)
    check_pixels(image.width, image.height, f"{what}, in {image.format},", allowed)
    if image.format in {"JPEG", "MPO"} or image.info.get("compression") == "jpeg":
        scans = _count(stream, _SCAN) - len(image.tile)
        if scans * image.width * image.height > _MAX_SCANNED:
            raise UsageError(f"{what} is a JPEG of {scans} scans, too many for its size: save it as baseline JPEG")


def _count(stream: BinaryIO, mark: bytes) -> int:
    before, last, count = stream.tell(), b"", 0
    stream.seek(0)
    while block := stream.read(2**20):
        count += (last + block).count(mark)
        last = block[-1:]
    stream.seek(before)
    return count


def _values_of_tiff(stream: BinaryIO) -> int:
    """Return how many values the largest tag of a TIFF's first directory has; 0 for what is no TIFF, or broken."""
    order = {b"II": "<", b"MM": ">"}.get(stream.read(2))
    if order is None:
        return 0
    try:
        at, skipped, number, entry, size = _TIFFS[struct.unpack(f"{order}H", stream.read(2))[0]]
        stream.seek(4 if skipped == 4 else 8)
        stream.seek(*struct.unpack(f"{order}{at}", stream.read(skipped)))
        count = struct.unpack(f"{order}{number}", stream.read(struct.calcsize(f"={number}")))[0]
        rows = (stream.read(size) for _ in range(min(count, 2**16)))
        tags = [struct.unpack_from(f"{order}{entry}", row) for row in rows if len(row) == size]
    except (KeyError, struct.error, OSError, OverflowError, ValueError):
        return 0
    return max((values for _, kind, values in tags if kind not in _TEXTS), default=0)
