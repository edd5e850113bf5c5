"""Loading images: equal to transformers' load_image for good ones, one clear sentence for bad ones."""

import base64
import io
import subprocess
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers.image_utils import load_image as load_image_of_transformers

from vitrify.runtime.errors import EnvironmentMissing, UsageError
from vitrify.runtime.processing.image.effort import MAX_PIXELS
from vitrify.runtime.processing.image.source import MAX_BYTES, image_from_array, load_image

PIXELS = np.random.default_rng(0).integers(0, 256, (18, 24, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


def encoded(image, image_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


PNG = encoded(RGB)


def bomb(width=30_000, height=30_000):
    """Return a PNG of a few bytes whose header promises width x height pixels."""

    def chunk(name, body):
        return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)

    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


class Unseekable:
    """A stream as the network gives it."""

    def __init__(self, stream):
        self.read = stream.read


def assert_same(image, expected):
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


@pytest.mark.parametrize(
    "source",
    [
        PNG,
        bytearray(PNG),
        io.BytesIO(PNG),
        Unseekable(io.BytesIO(PNG)),
        base64.b64encode(PNG).decode(),
        base64.encodebytes(PNG).decode(),
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        RGB,
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS.astype(np.int64),
        (PIXELS / 255).astype(np.float32),
        PIXELS / 255,
    ],
    ids=lambda source: type(source).__name__,
)
def test_every_kind_of_source_gives_the_same_pixels(source):
    assert_same(load_image(source), RGB)


def test_paths_as_text_and_as_objects(tmp_path):
    (tmp_path / "image.png").write_bytes(PNG)
    assert_same(load_image(tmp_path / "image.png"), RGB)
    assert_same(load_image(str(tmp_path / "image.png")), RGB)


def animated():
    return encoded(RGB.quantize(16), "GIF", save_all=True, append_images=[RGB.rotate(90).quantize(16)])


KINDS = {
    "gray": encoded(RGB.convert("L")),
    "bilevel": encoded(RGB.convert("1")),
    "gray with alpha": encoded(RGB.convert("LA")),
    "rgba": encoded(Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]]))),
    "palette": encoded(RGB.quantize(16)),
    "palette with transparency": encoded(RGB.quantize(16), transparency=2),
    "cmyk jpeg": encoded(RGB.convert("CMYK"), "JPEG"),
    "ycbcr tiff": encoded(RGB.convert("YCbCr"), "TIFF"),
    "16 bit": encoded(Image.fromarray((PIXELS[..., 0].astype(np.uint16) << 8) + 7)),
    "32 bit": encoded(Image.fromarray(PIXELS[..., 0].astype(np.int32)), "TIFF"),
    "float tiff": encoded(Image.fromarray(PIXELS[..., 0].astype(np.float32)), "TIFF"),
    "animated gif": animated(),
    "webp": encoded(RGB, "WEBP", lossless=True),
    "bmp": encoded(RGB, "BMP"),
    "ppm": encoded(RGB, "PPM"),
}


@pytest.mark.parametrize("content", KINDS.values(), ids=KINDS)
def test_modes_are_converted_as_transformers_does(content):
    assert_same(load_image(content), load_image_of_transformers(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_transformers_does(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(RGB, exif=exif)
    image = load_image(content)
    assert_same(image, load_image_of_transformers(Image.open(io.BytesIO(content))))
    assert image.size == ((24, 18) if orientation < 5 else (18, 24))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gray_and_alpha_arrays(dtype):
    scale = dtype(255) if dtype is np.float32 else dtype(1)
    gray, alpha = PIXELS[..., 0] / scale, np.dstack([PIXELS, PIXELS[..., :1]]) / scale
    gray, alpha = gray.astype(dtype), alpha.astype(dtype)
    for array in (gray, gray[None], gray[..., None]):
        assert_same(load_image(array), Image.fromarray(PIXELS[..., 0]).convert("RGB"))
    assert image_from_array(alpha).mode == "RGBA"
    assert_same(load_image(alpha), RGB)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 5), np.uint8), r"\[2, 3, 4, 5\]"),
        (np.zeros((1, 4, 5, 3), np.uint8), r"\[1, 4, 5, 3\]"),
        (np.zeros((8, 8, 2), np.uint8), r"\[8, 8, 2\]"),
        (np.zeros((0, 8, 3), np.uint8), r"\[0, 8, 3\]"),
        (np.zeros(8, np.uint8), r"\[8\]"),
        (np.full((8, 8, 3), 300), "0 to 255 for"),
        (np.full((8, 8, 3), 128.0), "0 to 1 for"),
        (np.full((8, 8, 3), np.nan), "0 to 1 for"),
        (np.full((8, 8, 3), "a"), "allowed: integers"),
        (np.broadcast_to(np.uint8(0), (30_000, 30_000)), str(MAX_PIXELS)),
    ],
)
def test_arrays_that_are_no_images(array, message):
    with pytest.raises(UsageError, match=message):
        load_image(array)


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"not an image at all", "is not an image"),
    "truncated png": (PNG[: len(PNG) // 2], "cannot be decoded"),
    "truncated jpeg": (encoded(RGB.resize((200, 200)), "JPEG")[:2000], "cannot be decoded"),
    "header only": (PNG[:20], "is not an image|cannot be decoded"),
    "corrupt png": (PNG[:60] + bytes(40) + PNG[100:], "cannot be decoded"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "is not an image"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_images_are_usage_errors_wherever_they_come_from(tmp_path, content, message):
    (tmp_path / "image.png").write_bytes(content)
    for source in (content, tmp_path / "image.png", "data:image/png;base64," + base64.b64encode(content).decode()):
        with pytest.raises(UsageError, match=message) as caught:
            load_image(source)
        assert "\n" not in str(caught.value)


def test_a_pillow_image_that_was_opened_but_does_not_decode():
    with pytest.raises(UsageError, match="cannot be decoded"):
        load_image(Image.open(io.BytesIO(PNG[: len(PNG) // 2])))


def test_a_huge_png_is_refused_with_its_size_and_the_limit():
    with pytest.raises(UsageError, match=r"900000000 pixels") as caught:
        load_image(bomb())
    assert str(MAX_PIXELS) in str(caught.value)


def test_the_limit_does_not_depend_on_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # what a user who met Pillow's own limit does
    for source in (bomb(), Image.open(io.BytesIO(bomb()))):
        with pytest.raises(UsageError, match=f"30000 x 30000 = 900000000 pixels .allowed: {MAX_PIXELS}"):
            load_image(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.png", "no image file 'missing.png'"),
        ("word", "no image file 'word'"),
        ("", "no image file ''"),
        ("x" * 300 + ".png", "no image file"),
        ("image\0.png", "no image file"),
        (Path("missing.png"), "no image file 'missing.png'"),
        (Path("/dev/null"), "no image file"),
        (Path(), "no image file"),
        ("data:image/png;base64,***", "not a base64 data URI"),
        ("data:image/svg+xml,<svg/>", "not a base64 data URI"),
        ("data:", "not a base64 data URI"),
        ("file:///etc/passwd", "'file' URL"),
        ("ftp://host/image.png", "'ftp' URL"),
        (None, "NoneType"),
        (3.5, "float"),
    ],
)
def test_sources_that_are_none(source, message):
    with pytest.raises(UsageError, match=message):
        load_image(source)


def test_an_unreadable_file_is_a_usage_error(tmp_path):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match="no image file"):
        load_image(loop)


class Site(BaseHTTPRequestHandler):
    """A hostile web site on loopback; the path says what it does."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        name = self.path.partition("?")[0].strip("/").replace("-", "_")
        getattr(self, f"send_{name}", self.send_missing)()

    def log_message(self, *args):
        pass

    def answer(self, status=200, body=b"", **headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_image(self):
        self.answer(body=PNG, Content_Length=str(len(PNG)))

    def send_page(self):
        self.answer(body=b"<html>sign in</html>")

    def send_missing(self):
        self.answer(404)

    def send_redirect(self):
        self.answer(302, Location="/image")

    def send_to_file(self):
        self.answer(302, Location="file:///etc/passwd")

    def send_to_ftp(self):
        self.answer(301, Location="ftp://127.0.0.1/image.png")

    def send_to_itself(self):
        self.answer(307, Location="/to-itself")

    def send_nowhere(self):
        self.answer(302)

    def send_cut(self):
        self.answer(body=PNG[:100], Content_Length=str(len(PNG)))

    def send_promised(self):
        self.answer(Content_Length=str(MAX_BYTES + 1))

    def send_endless(self):
        self.answer()
        block = bytes(2**20)
        for _ in range(MAX_BYTES // len(block) + 8):
            self.wfile.write(block)

    def send_slow_body(self):
        self.answer(Content_Length="1000")
        self.drip(b"x")

    def send_slow_headers(self):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n")
        self.drip(b"X-Header: value\r\n")

    def drip(self, piece):
        for _ in range(100):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(0.05)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args):
        pass  # a client that leaves early is what is tested


@pytest.fixture(scope="module")
def site():
    server = Server(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("path", ["/image", "/redirect", "/image?token=secret"])
def test_urls(site, path):
    assert_same(load_image(site + path), RGB)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/404", "answered 404"),
        ("/page", "not an image"),
        ("/to-file", "redirects to 'file:///etc/passwd'"),
        ("/to-ftp", "redirects to 'ftp://127.0.0.1/image.png'"),
        ("/to-itself", "redirects more than 10 times"),
        ("/nowhere", "redirects"),
        ("/cut", "cut|incomplete|more expected"),
        ("/promised", f"larger than {MAX_BYTES} bytes"),
        ("/endless", f"larger than {MAX_BYTES} bytes"),
    ],
)
def test_hostile_urls(site, path, message):
    with pytest.raises(EnvironmentMissing if path == "/cut" else UsageError, match=message) as caught:
        load_image(f"{site}{path}?token=secret")
    assert site in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("path", ["/slow-body", "/slow-headers"])
def test_a_slow_url_is_given_up_after_the_timeout(site, path):
    start = time.monotonic()
    with pytest.raises(EnvironmentMissing, match=r"0\.3 s|took too long"):
        load_image(site + path, timeout=0.3)
    assert time.monotonic() - start < 2


def test_urls_can_be_forbidden(site):
    with pytest.raises(UsageError, match="not accepted"):
        load_image(site + "/image", allow_urls=False)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://", UsageError),
        ("http:///image.png", UsageError),
        ("https://[::1/a.png", UsageError),
        ("http://127.0.0.1:99999/", UsageError),
        ("http://127.0.0.1:1/image.png", EnvironmentMissing),
    ],
)
def test_urls_that_reach_no_server(url, error):
    with pytest.raises(error, match="cannot fetch"):
        load_image(url)


def test_an_error_does_not_repeat_a_password():
    with pytest.raises(EnvironmentMissing, match=r"cannot fetch 'http://127\.0\.0\.1:1/a\.png'"):
        load_image("http://user:password@127.0.0.1:1/a.png?signature=1")


def test_missing_pillow_names_the_extra():
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "from vitrify.runtime.errors import DependencyMissing\n"
        "from vitrify.runtime.processing.image.source import load_image\n"
        "try: load_image('image.png')\n"
        "except DependencyMissing as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'vitrify[vision]'" in result.stdout
