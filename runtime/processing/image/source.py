"""Images from anything: a path, a URL, a data URI, base64, bytes, an open file, a Pillow image or an array, as RGB.

What comes in is untrusted: bytes, seconds, formats and pixels are bounded before anything is decoded.
"""

import base64
import binascii
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ...errors import DependencyMissing, UsageError, install_hint
from ..fetching import fetch_url, is_url, shortened, without_secrets
from ..open_files import content_of, is_file
from .effort import MAX_PIXELS, CountedReads, check_effort, check_file, check_pixels

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO", "TGA")
"""The formats that are decoded; Pillow's others (EPS, which runs Ghostscript, FITS...) only widen what is attacked."""

MAX_BYTES = 64 * 2**20
"""The largest download or base64 image that is accepted, in bytes."""

_CHANNELS = (1, 3, 4)
_MAX_PATH = 4096


def load_image(source: Any, *, timeout: float | None = None, allow_urls: bool = True) -> "PIL.Image.Image":
    """Return the image as RGB, upright by its EXIF orientation, transparency dropped and first frame taken.

    `source` is a path, an http(s) URL, a data URI or bare base64, bytes, a binary file, a Pillow image, or an array
    that `image_from_array` takes. `timeout` bounds the whole download, in seconds.
    Raises UsageError for whatever is not an image, is too large, or cannot be fetched.
    """
    pillow = import_pillow()
    if isinstance(source, pillow.Image):
        return _upright(source, "the image")
    if isinstance(source, np.ndarray):
        return as_rgb(image_from_array(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(source), "the bytes")
    if isinstance(source, Path):
        return _from_file(source)
    if isinstance(source, str):
        return _from_text(source, timeout=timeout, allow_urls=allow_urls)
    if is_file(source):
        return _decoded(io.BytesIO(content_of(source, kind="an image")), "the open file")
    raise UsageError(
        f"an image cannot be a {type(source).__name__} (allowed: path, http(s) URL, data URI or base64 string, "
        "bytes, binary file, Pillow image, numpy array)"
    )


def image_from_array(array: np.ndarray) -> "PIL.Image.Image":
    """Turn [H, W], [H, W, C] or [C, H, W] (C 1, 3 or 4; integers 0..255 or floats 0..1) into a Pillow image.

    As in transformers, channels come first where both readings are possible, and floats are scaled, then truncated.
    """
    pillow = import_pillow()
    if array.ndim == 3 and array.shape[0] in _CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not array.size or (array.ndim != 2 and (array.ndim != 3 or array.shape[-1] not in _CHANNELS)):
        raise UsageError(
            f"an array of shape {list(array.shape)} is not an image (allowed: [height, width], "
            "[height, width, channels] or [channels, height, width] with 1, 3 or 4 channels)"
        )
    check_pixels(array.shape[1], array.shape[0], "the array")
    return pillow.fromarray(np.ascontiguousarray(_as_uint8(array)))


def as_rgb(image: "PIL.Image.Image", *, on_white: bool = False, what: str = "the image") -> "PIL.Image.Image":
    """Decode and convert to RGB; transparency is dropped as `convert` does, or with `on_white` composed onto white.

    Raises UsageError for an image that is too large or does not decode.
    """
    check_pixels(image.width, image.height, what)
    with _decoding(what):
        image.load()
        if on_white and ("A" in image.getbands() or image.info.get("transparency") is not None):
            image = _on_white(image)
        return image if image.mode == "RGB" else image.convert("RGB")


def import_pillow() -> ModuleType:
    """Return the module PIL.Image; raise DependencyMissing, naming the extra, where Pillow is not installed."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise DependencyMissing(f"images need Pillow, which is not installed: {install_hint('vision')}") from error
    return PIL.Image


def _from_text(text: str, *, timeout: float | None, allow_urls: bool) -> "PIL.Image.Image":
    if is_url(text, kind="an image"):
        if not allow_urls:
            raise UsageError("a URL is not accepted as an image here; send the image itself")
        content = fetch_url(text, max_bytes=MAX_BYTES, timeout=timeout)
        return _decoded(io.BytesIO(content), f"'{without_secrets(text)}'")
    if text[:5].lower() == "data:":
        return _from_data_uri(text)
    if _is_file(text):
        return _from_file(Path(text))
    return _from_bare_base64(text)


def _from_file(path: Path) -> "PIL.Image.Image":
    if not path.is_file():
        raise UsageError(f"no image file '{path}'")
    try:
        with path.open("rb") as stream:
            return _decoded(stream, f"'{path}'")
    except OSError as error:
        raise UsageError(f"cannot read image file '{path}': {error.strerror}") from error


def _from_data_uri(uri: str) -> "PIL.Image.Image":
    head, comma, body = uri.partition(",")
    content = _base64_bytes(body) if comma and head.lower().endswith(";base64") else None
    if content is None:
        raise UsageError(f"'{shortened(uri)}' is not a base64 data URI (allowed: 'data:image/png;base64,...')")
    return _decoded(io.BytesIO(content), "the data URI")


def _from_bare_base64(text: str) -> "PIL.Image.Image":
    content = _base64_bytes(text)
    # Any word of four letters is valid base64, so a short one that decodes to no image was meant as a file.
    if not content or (len(text) < _MAX_PATH and not _identifies(content)):
        raise UsageError(
            f"no image file '{shortened(text)}' (an http(s) URL or a base64-encoded image is accepted too)"
        )
    return _decoded(io.BytesIO(content), "the base64 string")


def _base64_bytes(text: str) -> bytes | None:
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise UsageError(f"a base64 image of {len(text)} characters is too large (allowed: {MAX_BYTES} bytes decoded)")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _identifies(content: bytes) -> bool:
    pillow = import_pillow()
    try:
        pillow.open(io.BytesIO(content), formats=FORMATS).close()
    except pillow.UnidentifiedImageError:
        return False
    except Exception:  # noqa: BLE001 - broken or too large, but an image: decoding says what is wrong with it
        return True
    return True


def _is_file(text: str) -> bool:
    try:
        return len(text) < _MAX_PATH and Path(text).is_file()
    except (OSError, ValueError):  # a name too long for the file system, or one with a null byte
        return False


def _decoded(stream: BinaryIO, what: str) -> "PIL.Image.Image":
    check_file(stream, what)
    with _decoding(what), import_pillow().open(CountedReads(stream, what), formats=FORMATS) as image:
        check_effort(image, stream, what)
        return _upright(image, what)


def _upright(image: "PIL.Image.Image", what: str) -> "PIL.Image.Image":
    import_pillow()
    import PIL.ImageOps

    check_pixels(image.width, image.height, what)
    with _decoding(what):
        return as_rgb(PIL.ImageOps.exif_transpose(image), what=what)


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Turn whatever Pillow raises on broken input into one UsageError."""
    pillow = import_pillow()
    try:
        yield
    except UsageError:
        raise
    except pillow.UnidentifiedImageError as error:
        raise UsageError(f"{what} is not an image that can be read (formats: {', '.join(FORMATS)})") from error
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise UsageError(f"{what} is too large to decode (allowed: {MAX_PIXELS} pixels): {error}") from error
    except Exception as error:  # decoders raise nearly anything: SyntaxError, struct.error, EOFError, zlib.error...
        raise UsageError(f"{what} cannot be decoded as an image: {error}") from error


def _as_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf":
        raise UsageError(f"an array of {array.dtype} is not an image (allowed: integers 0 to 255, floats 0 to 1)")
    low, high, limit = array.min(), array.max(), 1 if array.dtype.kind == "f" else 255
    if not (low >= 0 and high <= limit):
        raise UsageError(
            f"an image array of {array.dtype} has values from {low} to {high} (allowed: 0 to {limit} for its type)"
        )
    return (
        array.astype(np.uint8) if limit == 255 else (array.astype(np.float64) * 255).astype(np.float32).astype(np.uint8)
    )


def _on_white(image: "PIL.Image.Image") -> "PIL.Image.Image":
    pillow = import_pillow()
    image = image.convert("RGBA")
    return pillow.alpha_composite(pillow.new("RGBA", image.size, (255, 255, 255, 255)), image)
