"""Audio from anything: a path, a URL, bytes, an open file or an array, as mono float32 at the sampling rate asked for.

What comes in is untrusted: formats, channels, rates and duration are bounded. Files are decoded and resampled block by
block, so that an hour of audio need not fit into memory.
"""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ...errors import DependencyMissing, UsageError, install_hint
from ..fetching import fetch_url, is_url, shortened, without_secrets
from ..open_files import content_of, is_file

MAX_BYTES = 512 * 2**20
"""The largest download that is accepted, in bytes: six hours of 16 kHz speech as FLAC, 47 minutes of a CD as WAV."""

MAX_SECONDS = 8 * 3600
"""The longest audio that is accepted: 1.8 GB as float32 at 16 kHz."""

RATES = range(1_000, 768_001)
"""The sampling rates that are accepted, in Hz."""

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF")
"""The formats that are decoded; libsndfile's others only widen what is attacked."""

BLOCK = 2**17
"""Samples of one channel that are decoded at a time."""

_KINDS = 'a path, an http(s) URL, bytes, a binary file, a numpy array or {"array" or "raw": ..., "sampling_rate": ...}'
_SIGNED = {"int16": 2.0**15, "int32": 2.0**31}
_UNKNOWN = 2**62  # what libsndfile says of a stream without a length is more


def load_audio(source: Any, *, sampling_rate: int, timeout: float | None = None, allow_urls: bool = True) -> np.ndarray:
    """Return the audio as float32 [samples] at `sampling_rate`; see `audio_blocks`."""
    samples = bytearray()  # grows in place, where a list of blocks would be held twice
    for block in audio_blocks(source, sampling_rate=sampling_rate, timeout=timeout, allow_urls=allow_urls):
        samples += block.tobytes()
    return np.frombuffer(samples, np.float32)


def audio_blocks(
    source: Any, *, sampling_rate: int, timeout: float | None = None, allow_urls: bool = True
) -> Iterator[np.ndarray]:
    """Yield the audio in order as float32 [samples] of any length but 0, mono, at `sampling_rate`.

    `source` is a path, an http(s) URL, an audio file's bytes, a binary file, an array [samples] or [channels, samples]
    that is at `sampling_rate` already (floats, or int16, int32 or uint8 as files store them), or a mapping of such an
    array under "array" or "raw" with its own "sampling_rate". Two channels are averaged. `timeout` bounds a download,
    in seconds.
    The samples are those of transformers' `load_audio` with soundfile and soxr.
    Raises UsageError for what is not audio, has more than two channels, no samples, or is too long or too large.
    """
    rate, blocks = _opened(source, sampling_rate, timeout=timeout, allow_urls=allow_urls)
    empty = True
    for block in _resampled(_counted(blocks, rate), rate, sampling_rate):
        empty = empty and not block.size
        if block.size:
            yield block
    if empty:
        raise UsageError("the audio contains no samples")


def _opened(
    source: Any, sampling_rate: int, *, timeout: float | None, allow_urls: bool
) -> tuple[int, Iterator[np.ndarray]]:
    """Return the source's own sampling rate and its mono blocks."""
    if isinstance(source, Mapping):
        array, rate = _array_and_rate(source)
        return rate, _array_blocks(array)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(source), "the bytes")
    if isinstance(source, str):
        return _from_text(source, timeout=timeout, allow_urls=allow_urls)
    if isinstance(source, Path):
        return _from_file(source)
    if hasattr(source, "__array__"):
        return sampling_rate, _array_blocks(np.asarray(source))
    if is_file(source):
        return _decoded(io.BytesIO(content_of(source, kind="audio")), "the open file")
    raise UsageError(f"audio cannot be a {type(source).__name__} (allowed: {_KINDS})")


def _array_and_rate(source: Mapping[str, Any]) -> tuple[np.ndarray, int]:
    array = source.get("raw") if source.get("raw") is not None else source.get("array")
    rate = source.get("sampling_rate")
    if array is None or rate is None:
        got = ", ".join(map(repr, source)) or "nothing"
        raise UsageError(f'audio as a mapping needs "sampling_rate" and "array" or "raw", got {got}')
    if isinstance(array, str | bytes | Path):
        raise UsageError(
            f'"array" and "raw" expect an array, not a {type(array).__name__}; pass a file without a mapping'
        )
    return np.asarray(array), _checked_rate(rate, "the mapping")


def _array_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[0] > 2):
        hint = "; transpose it if it is [samples, channels]" if array.ndim == 2 and array.shape[1] <= 2 else ""
        raise UsageError(
            f"an array of shape {list(array.shape)} is not audio (allowed: [samples], or [channels, samples] with 1 or "
            f"2 channels{hint})"
        )
    for start in range(0, array.shape[-1], BLOCK):
        yield _mono(_as_float(array[..., start : start + BLOCK]))


def _as_float(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.name in _SIGNED:
        return array.astype(np.float32) / np.float32(_SIGNED[array.dtype.name])
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    raise UsageError(f"an array of {array.dtype} is not audio (allowed: floats, int16, int32, uint8)")


def _mono(channels: np.ndarray) -> np.ndarray:
    """Return the average of [samples] or [channels, samples] over the channels."""
    samples = channels if channels.ndim == 1 else channels.mean(axis=0) if len(channels) > 1 else channels[0]
    if not np.isfinite(samples).all():
        raise UsageError("the audio has samples that are infinite or not a number")
    return np.ascontiguousarray(samples)


def _from_text(text: str, *, timeout: float | None, allow_urls: bool) -> tuple[int, Iterator[np.ndarray]]:
    if not is_url(text, kind="audio"):
        return _from_file(Path(text))
    if not allow_urls:
        raise UsageError("a URL is not accepted as audio here; send the audio itself")
    content = fetch_url(text, max_bytes=MAX_BYTES, timeout=timeout)
    return _decoded(io.BytesIO(content), f"'{without_secrets(text)}'")


def _from_file(path: Path) -> tuple[int, Iterator[np.ndarray]]:
    name = shortened(str(path))
    try:
        if not path.is_file():
            raise UsageError(f"no audio file '{name}'")
        return _decoded(path.open("rb", buffering=0), f"'{name}'")
    except OSError as error:  # too long a name, no permission
        raise UsageError(f"cannot read audio file '{name}': {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"no audio file '{name}'") from error  # a null byte in the name


def _decoded(stream: Any, what: str) -> tuple[int, Iterator[np.ndarray]]:
    """Return the sampling rate and the mono blocks of an encoded file, which is closed at the end."""
    library = _import("soundfile")
    if not stream.read(1):
        stream.close()
        raise UsageError(f"{what} is empty, so not audio")
    stream.seek(0)
    try:
        with _decoding(library, what):
            # A descriptor spares a call from C into Python for every few kilobytes.
            file = library.SoundFile(stream if isinstance(stream, io.BytesIO) else stream.fileno(), closefd=False)
            _check_header(file, what)
    except BaseException:
        stream.close()
        raise
    return file.samplerate, _file_blocks(library, stream, file, what)


def _check_header(file: Any, what: str) -> None:
    if file.format not in FORMATS:
        raise UsageError(f"{what} is {file.format} (formats: {', '.join(FORMATS)})")
    if file.channels > 2:
        raise UsageError(f"{what} has {file.channels} channels (allowed: 1 or 2); mix it down first")
    _checked_rate(file.samplerate, what)
    if file.frames < _UNKNOWN:
        _check_duration(file.frames, file.samplerate, what)


def _file_blocks(library: ModuleType, stream: Any, file: Any, what: str) -> Iterator[np.ndarray]:
    with stream, file:
        while True:
            with _decoding(library, what):
                block = file.read(BLOCK, dtype="float32", always_2d=True)
            if not len(block):
                return
            yield _mono(block.T)


@contextmanager
def _decoding(library: ModuleType, what: str) -> Iterator[None]:
    """Turn whatever the decoder raises on a broken file into one UsageError."""
    try:
        yield
    except library.SoundFileError as error:
        reason = str(getattr(error, "error_string", error)).rstrip(".")
        raise UsageError(f"{what} cannot be read as audio: {reason} (formats: {', '.join(FORMATS)})") from error


def _counted(blocks: Iterator[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Pass the blocks on while they are not too long: a header may promise less than comes."""
    count = 0
    for block in blocks:
        count += len(block)
        _check_duration(count, rate, "the audio")
        yield block


def _resampled(blocks: Iterator[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Resample blocks as soxr does at its high quality; n samples become ceil(n * wanted / rate)."""
    if rate == wanted:
        yield from blocks
        return
    stream = _import("soxr").ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    taken = given = 0
    for block in blocks:
        taken += len(block)
        made = stream.resample_chunk(block)
        given += len(made)
        yield made
    rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
    missing = max(math.ceil(taken * wanted / rate) - given, 0)
    yield np.pad(rest, (0, max(missing - len(rest), 0)))[:missing]


def _checked_rate(rate: Any, what: str) -> int:
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.number) or rate not in RATES:
        raise UsageError(f"{what} has a sampling rate of {rate!r} (allowed: {RATES[0]} to {RATES[-1]} Hz)")
    return int(rate)


def _check_duration(samples: int, rate: int, what: str) -> None:
    if samples > MAX_SECONDS * rate:
        raise UsageError(f"{what} is longer than {MAX_SECONDS} s; cut it into parts")


def _import(name: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError as error:
        raise DependencyMissing(f"audio needs {name}, which is not installed: {install_hint('audio')}") from error
