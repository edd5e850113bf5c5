"""Reading audio: equal to transformers' load_audio for good sources, one clear sentence for bad ones."""

import io
import struct
import subprocess
import sys
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from transformers.audio_utils import load_audio as load_audio_of_transformers

import vitrify.runtime.processing.audio.source as audio
from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.audio.source import BLOCK, FORMATS, MAX_BYTES, audio_blocks, load_audio

RATE = 16_000
KINDS = {
    "wav": "PCM_16",
    "wav float": "FLOAT",
    "wav 24": "PCM_24",
    "wav 8": "PCM_U8",
    "flac": "PCM_16",
    "ogg": "VORBIS",
}


def sound(seconds=0.6, rate=RATE, channels=1):
    """Return float32 [samples, channels]."""
    time = np.arange(round(seconds * rate)) / rate
    tones = [np.sin(2 * np.pi * (300 + 200 * channel) * time) * 0.4 for channel in range(channels)]
    noise = np.random.default_rng(0).standard_normal((len(time), channels)) * 0.02
    return (np.stack(tones, axis=1) + noise).astype(np.float32)


def encoded(samples, rate=RATE, kind="wav float"):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind.split()[0].upper(), subtype=KINDS[kind])
    return stream.getvalue()


WAV = encoded(sound())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_are_read_as_transformers_reads_them(tmp_path, kind, rate, channels):
    content = encoded(sound(0.6, rate, channels), rate, kind)
    path = tmp_path / "sound"
    path.write_bytes(content)
    expected = load_audio_of_transformers(str(path), sampling_rate=RATE, backend="soundfile")
    assert len(expected) == 9600
    for source in (path, str(path), content, bytearray(content), memoryview(content), io.BytesIO(content)):
        samples = load_audio(source, sampling_rate=RATE)
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
@pytest.mark.parametrize("seconds", [0.0001, 0.333, 12.3])
def test_blocks_join_to_the_whole(rate, seconds):
    samples = sound(seconds, rate, 2)
    content = encoded(samples, rate)
    blocks = list(audio_blocks(content, sampling_rate=RATE))
    assert all(block.ndim == 1 and block.size for block in blocks)
    assert max(map(len, blocks)) <= BLOCK * RATE / rate + RATE
    expected = load_audio_of_transformers_bytes(content)
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
    array = {"array": samples.T, "sampling_rate": rate}
    np.testing.assert_allclose(load_audio(array, sampling_rate=RATE), expected, atol=1e-6)


def load_audio_of_transformers_bytes(content):
    from transformers.audio_utils import _load_audio_soundfile

    return _load_audio_soundfile(content, RATE)


@pytest.mark.parametrize(
    "scaled",
    [
        lambda samples: samples,
        lambda samples: samples.astype(np.float64),
        lambda samples: samples.astype(np.float16),
        lambda samples: (samples * 2**15).round().astype(np.int16),
        lambda samples: (samples * 2.0**31).round().astype(np.int32),
        lambda samples: (samples * 2**7 + 128).round().astype(np.uint8),
    ],
    ids=["float32", "float64", "float16", "int16", "int32", "uint8"],
)
def test_arrays_of_any_type_mean_the_same_sound(scaled):
    samples = sound()[:, 0]
    array = scaled(samples)
    tolerance = 2**-7 if array.dtype == np.uint8 else 2**-11 if array.dtype == np.float16 else 2**-15
    for source in (array, array[None], np.stack([array, array]), {"raw": array, "sampling_rate": RATE}):
        made = load_audio(source, sampling_rate=RATE)
        assert made.dtype == np.float32
        np.testing.assert_allclose(made, samples, atol=tolerance)


def test_two_channels_are_averaged():
    left, right = sound(channels=2).T
    np.testing.assert_allclose(load_audio(np.stack([left, right]), sampling_rate=RATE), (left + right) / 2, atol=1e-7)


def test_a_plain_array_is_taken_at_the_rate_asked_for():
    samples = sound()[:, 0]
    np.testing.assert_array_equal(load_audio(samples, sampling_rate=8_000), samples)


def test_a_mapping_prefers_raw_and_takes_numbers_of_numpy():
    samples = sound()[:, 0]
    made = load_audio({"raw": None, "array": samples, "path": "x", "sampling_rate": np.int64(RATE)}, sampling_rate=RATE)
    np.testing.assert_array_equal(made, samples)
    made = load_audio({"raw": samples, "array": samples * 2, "sampling_rate": 16000.0}, sampling_rate=RATE)
    np.testing.assert_array_equal(made, samples)


def test_silence_is_silence():
    content = encoded(np.zeros(4_800), 48_000)
    np.testing.assert_array_equal(load_audio(content, sampling_rate=RATE), np.zeros(1_600, np.float32))


def wav_header(*, channels=1, rate=RATE, samples=2**30):
    """Return a WAV file of a few samples whose header promises others."""
    size = samples * channels * 2
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2 % 2**32, channels * 2, 16)
    chunks = b"WAVEfmt " + form + b"data" + struct.pack("<I", size % 2**32) + bytes(4_000)
    return b"RIFF" + struct.pack("<I", (size + 36) % 2**32) + chunks


BROKEN = {
    "empty": (b"", "is empty"),
    "text": (b"this is a text, and no audio at all\n" * 100, "cannot be read as audio: Format not recognised"),
    "no samples": (encoded(np.zeros(0)), "no samples"),
    "truncated flac": (encoded(sound(), kind="flac")[:5_000], "cannot be read as audio"),
    "truncated ogg": (encoded(sound(), kind="ogg")[:100], "cannot be read as audio"),
    "header only": (WAV[:20], "cannot be read as audio"),
    "200 channels": (wav_header(channels=200), "200 channels .allowed: 1 or 2"),
    "rate of 1": (wav_header(rate=1), "sampling rate of 1 "),
    "rate of a billion": (wav_header(rate=10**9), "sampling rate of 1000000000 "),
    "not a number": (encoded(np.array([0.1, np.nan, 0.2])), "not a number"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as audio"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_audio_is_a_usage_error_wherever_it_comes_from(tmp_path, content, message):
    path = tmp_path / "sound.wav"
    path.write_bytes(content)
    for source in (path, str(path), content):
        with pytest.raises(UsageError, match=message) as caught:
            load_audio(source, sampling_rate=RATE)
        assert "\n" not in str(caught.value)


def test_a_header_that_promises_more_than_there_is_gives_what_there_is():
    assert len(load_audio(wav_header(), sampling_rate=RATE)) == 2_000


def test_other_formats_of_the_library_are_refused(tmp_path):
    stream = io.BytesIO()
    soundfile.write(stream, sound(), RATE, format="MAT5", subtype="FLOAT")
    assert "MAT5" not in FORMATS
    with pytest.raises(UsageError, match="is MAT5"):
        load_audio(stream.getvalue(), sampling_rate=RATE)


def test_a_long_file_is_refused_by_its_header_and_a_long_stream_as_it_comes(monkeypatch):
    monkeypatch.setattr(audio, "MAX_SECONDS", 1)
    with pytest.raises(UsageError, match="the bytes is longer than 1 s"):
        load_audio(encoded(sound(1.1)), sampling_rate=RATE)
    with pytest.raises(UsageError, match="the audio is longer than 1 s"):
        load_audio(sound(9)[:, 0], sampling_rate=RATE)
    assert len(load_audio(sound(1)[:, 0], sampling_rate=RATE)) == RATE


def test_reading_long_audio_in_blocks_takes_little_memory():
    hours = np.broadcast_to(np.float32(0.1), (2 * 3600 * 48_000,))  # 1.4 GB, were it written out
    tracemalloc.start()
    try:
        count = sum(map(len, audio_blocks({"array": hours, "sampling_rate": 48_000}, sampling_rate=RATE)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 2 * 3600 * RATE
    assert peak < 8 * 2**20


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros((2, 0), np.float32), "no samples"),
        (np.zeros((3, 100)), r"shape \[3, 100\]"),
        (np.zeros((100, 2)), r"shape \[100, 2\].*transpose it"),
        (np.zeros((1, 2, 100)), r"shape \[1, 2, 100\]"),
        (np.float32(1), r"shape \[\]"),
        (np.zeros(100, np.int64), "array of int64"),
        (np.zeros(100, bool), "array of bool"),
        (np.full(100, "a"), "array of <U1"),
        (np.array([0.1, np.inf]), "infinite"),
    ],
)
def test_arrays_that_are_no_audio(array, message):
    for source in (array, {"array": array, "sampling_rate": 8_000}):
        with pytest.raises(UsageError, match=message):
            load_audio(source, sampling_rate=RATE)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "cannot be a NoneType"),
        (3.5, "cannot be a float"),
        ([0.1, 0.2], "cannot be a list"),
        ({}, "got nothing"),
        ({"array": np.zeros(9)}, "needs \"sampling_rate\".*got 'array'"),
        ({"sampling_rate": RATE}, "got 'sampling_rate'"),
        ({"array": "a.wav", "sampling_rate": RATE}, "not a str"),
        ({"array": np.zeros(9), "sampling_rate": 0}, "sampling rate of 0"),
        ({"array": np.zeros(9), "sampling_rate": "16000"}, "sampling rate of '16000'"),
        ({"array": np.zeros(9), "sampling_rate": True}, "sampling rate of True"),
        ({"array": np.zeros(9), "sampling_rate": float("nan")}, "sampling rate of nan"),
        ("missing.wav", "no audio file 'missing.wav'"),
        ("x" * 300 + ".wav", "audio file 'xxx"),
        ("sound\0.wav", "no audio file"),
        ("", "no audio file"),
        (Path("missing.wav"), "no audio file 'missing.wav'"),
        (Path("/dev/zero"), "no audio file"),
        (Path(), "no audio file"),
        ("file:///etc/passwd", "'file' URL"),
        ("ftp://host/sound.wav", "'ftp' URL"),
    ],
)
def test_sources_that_are_none(source, message):
    with pytest.raises(UsageError, match=message):
        load_audio(source, sampling_rate=RATE)


class Site(BaseHTTPRequestHandler):
    """A web site on loopback; the path says what it does."""

    def do_GET(self):
        status, body, headers = {
            "/sound": (200, WAV, {}),
            "/moved": (302, b"", {"Location": "/sound"}),
            "/page": (200, b"<html>sign in</html>", {}),
            "/large": (200, b"", {"Content-Length": str(MAX_BYTES + 1)}),
        }.get(self.path.partition("?")[0], (404, b"", {}))
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("path", ["/sound", "/moved", "/sound?token=secret"])
def test_urls(site, path, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    np.testing.assert_array_equal(load_audio(site + path, sampling_rate=RATE), sound()[:, 0])


@pytest.mark.parametrize(
    ("path", "message"),
    [("/404", "answered 404"), ("/page", "cannot be read as audio"), ("/large", f"larger than {MAX_BYTES}")],
)
def test_urls_without_audio(site, path, message, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UsageError, match=message) as caught:
        load_audio(f"{site}{path}?token=secret", sampling_rate=RATE)
    assert site in str(caught.value)
    assert "secret" not in str(caught.value)


def test_urls_can_be_forbidden(site):
    with pytest.raises(UsageError, match="not accepted"):
        load_audio(site + "/sound", sampling_rate=RATE, allow_urls=False)


def test_a_file_is_closed_when_it_is_read_refused_or_left(tmp_path):
    path = tmp_path / "sound.wav"
    path.write_bytes(encoded(sound(20)))
    blocks = audio_blocks(path, sampling_rate=RATE)
    next(blocks)
    blocks.close()
    load_audio(path, sampling_rate=RATE)
    path.write_bytes(b"text" * 100)
    with pytest.raises(UsageError):
        load_audio(path, sampling_rate=RATE)
    open_files = [Path(f"/proc/self/fd/{fd.name}").resolve() for fd in Path("/proc/self/fd").iterdir()]
    assert path not in open_files


@pytest.mark.parametrize(("module", "rate"), [("soundfile", RATE), ("soxr", 8_000)])
def test_a_missing_package_names_the_extra(tmp_path, module, rate):
    path = tmp_path / "sound.wav"
    path.write_bytes(encoded(sound(rate=rate), rate))
    program = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from vitrify.runtime.errors import DependencyMissing\n"
        "from vitrify.runtime.processing.audio.source import load_audio\n"
        f"try: load_audio({str(path)!r}, sampling_rate=16000)\n"
        "except DependencyMissing as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"audio needs {module}" in result.stdout
    assert "pip install 'vitrify[audio]'" in result.stdout
