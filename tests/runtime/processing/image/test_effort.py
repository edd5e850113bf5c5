"""Small images that would cost hours or gigabytes, and large ones that cost what they are worth."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.images import noise, picture
from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.image.source import load_image


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def webp(width, height):
    """Return a lossless WebP of one colour, in 34 bytes."""
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    chunk = b"\x2f" + struct.pack("<I", bits) + bytes.fromhex("0788880ae30f0000")[:8]
    chunk += b"\0" * (len(chunk) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(chunk)) + b"WEBPVP8L" + struct.pack("<I", len(chunk)) + chunk


def jpeg_2000(side):
    """Return the beginning of a JPEG 2000 codestream: its decoder is not reached."""
    sizes = struct.pack(">HIIIIIIIIH", 0, side, side, 0, 0, side, side, 0, 0, 3)
    segment = sizes + b"\x07\x01\x01" * 3
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(segment) + 2) + segment + b"\xff\xd9"


def with_scans(count, side=4000):
    """Return a progressive JPEG whose last scan is there so many times."""
    content = saved(Image.new("L", (side, side)), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * count + content[-2:]


def tiff(strips, *, big=False, order="<"):
    """Return a TIFF of one column, each row a strip."""
    place, entry = ("Q", "HHQQ") if big else ("I", "HHII")
    tags = [(256, 4, 1, 1), (257, 4, 1, strips), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, strips, 8)]
    tags += [(277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, 8)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    rows = b"".join(struct.pack(f"{order}{entry}", *tag) for tag in tags)
    return head + struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + rows + struct.pack(f"{order}{place}", 0)


def png_in_pieces(count):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"teXt", b"") * count + chunk(b"IDAT", zlib.compress(bytes(90)))


COSTLY = {
    "webp": (webp(13_000, 13_000), "169000000 pixels .allowed: 33554432"),
    "jpeg 2000": (jpeg_2000(13_000), "169000000 pixels .allowed: 33554432"),
    "comment": (b"P6\n#" + b"x" * 300_000 + b"\n2 2\n255\n" + bytes(12), "more than 262144 pieces"),
    "plain ppm": (b"P3\n2000 2000\n255\n" + b"1 " * 10, "4000000 pixels .allowed: 2097152"),
    "scans": (with_scans(300), "scans, too many for its size"),
    "strips": (tiff(10_000_000), "a tag of 10000000 values"),
    "strips of a big tiff": (tiff(10_000_000, big=True), "a tag of 10000000 values"),
    "strips, the other way round": (tiff(10_000_000, order=">"), "a tag of 10000000 values"),
    "chunks": (png_in_pieces(140_000), "more than 262144 pieces"),
}


@pytest.mark.parametrize(("content", "message"), COSTLY.values(), ids=COSTLY)
def test_an_image_that_would_cost_too_much(content, message):
    begun = time.process_time()
    with pytest.raises(UsageError, match=message) as caught:
        load_image(content)
    assert "\n" not in str(caught.value)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF", "TGA"])
def test_an_image_of_usual_size_costs_nothing_special(kind):
    loaded = load_image(saved(picture(size=(400, 300)), kind))
    assert loaded.size == (400, 300)


@pytest.mark.parametrize(
    "content",
    [
        saved(noise(300, 200), "JPEG", progressive=True),
        with_scans(20, side=1000),
        saved(noise(300, 200), "TIFF", compression="jpeg"),
        saved(noise(64, 64, "RGBA"), "ICO"),
        b"P6\n#" + b"x" * 1000 + b"\n2 2\n255\n" + bytes(12),
    ],
)
def test_what_is_usual_in_a_format_is_decoded(content):
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    np.testing.assert_array_equal(load_image(content), expected)


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    with (tmp_path / "image.webp").open("wb") as file:
        file.write(webp(10, 10))
        file.truncate(2**31)
    with pytest.raises(UsageError, match="has 2147483648 bytes"):
        load_image(tmp_path / "image.webp")
