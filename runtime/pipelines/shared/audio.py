"""What the pipelines that take audio share: what one recording is, and how it is read, whole or in chunks."""

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import UsageError
from ...processing.audio.source import audio_blocks
from ...processing.open_files import is_file
from ..results import Transcript
from .base import Parameters, Pipeline

if TYPE_CHECKING:
    from ...loading import LoadedBundle
    from .pieces import Piece

_OF_RESULTS = ("text", "chunks")
_OF_INPUTS = ("raw", "sampling_rate", "stride")


@dataclass(frozen=True)
class AudioParameters(Parameters):
    """`chunk_length_s`, `stride_length_s`: seconds of a chunk, and of its overlap (on both sides, or left and right).

    Nothing or 0 takes the recording whole; the overlap is a sixth of the chunk by default. `timeout`: seconds that a
    download may take.
    """

    chunk_length_s: float | None = None
    stride_length_s: float | tuple[float, float] | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        _check_seconds("chunk_length_s", self.chunk_length_s)
        for seconds in self.strides:
            _check_seconds("stride_length_s", seconds)
        if self.timeout is not None and (not _is_number(self.timeout) or self.timeout <= 0):
            raise UsageError(f"timeout must be a number of seconds greater than 0, got {self.timeout!r}")

    @property
    def strides(self) -> tuple[float, float]:
        """The overlap on the left and on the right, in seconds."""
        given = self.stride_length_s
        if given is None:
            given = (self.chunk_length_s or 0) / 6
        if not isinstance(given, list | tuple):
            return given, given
        if len(given) != 2:
            raise UsageError(f"stride_length_s must be a number of seconds or (left, right), got {given!r}")
        return given[0], given[1]


@dataclass(frozen=True)
class Recording:
    """One input: where its sound comes from, what of it only gives context, and what travels through to the result.

    `stride` is (left, right) in samples at the `rate` of the source.
    """

    source: Any
    stride: tuple[int, int] | None = None
    rate: int = 0
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Chunk:
    """Samples float32 [samples] for one run; the first `left` and last `right` only give context."""

    samples: np.ndarray
    left: int = 0
    right: int = 0


class AudioPipeline(Pipeline[Transcript, Transcript]):
    """A task on recordings: paths, http(s) URLs, bytes, binary files, arrays, mappings of an array and its rate."""

    expects: ClassVar[str] = (
        "audio (path, URL, bytes, binary file, numpy array, or a mapping of an array and its sampling_rate)"
    )

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        if self.speech_processor is None:
            raise UsageError(
                f"'{task}' needs a feature extractor and bundle '{loaded.name}' has none: pass feature_extractor=FOLDER"
            )

    @property
    def speech_processor(self) -> Any:
        """The bundle's feature extractor, or None."""
        return self.loaded.speech_processor

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one recording."""
        kinds = str | bytes | bytearray | memoryview | Path | Mapping
        return isinstance(inputs, kinds) or hasattr(inputs, "__array__") or is_file(inputs)

    def blocks(self, recording: Recording, parameters: AudioParameters) -> Iterator[np.ndarray]:
        """Yield the samples as the model takes them, part by part, float32 [samples]."""
        rate = self.speech_processor.sampling_rate
        return audio_blocks(recording.source, sampling_rate=rate, timeout=parameters.timeout)

    def _results(self, items: Iterator[Any], parameters: Any, size: int) -> Generator[Any, None, None]:
        """Yield one result per item, in order; chunks are read as they are run, and dropped."""
        waiting: deque[tuple[list[Piece], list[Any]]] = deque()
        pending: list[tuple[Piece, list[Any]]] = []

        def run() -> None:
            self._run(pending, parameters)
            pending.clear()

        def finished() -> Iterator[Any]:
            while waiting and len(waiting[0][0]) == len(waiting[0][1]):
                yield self.result(*waiting.popleft(), parameters)

        for item in items:
            pieces, outputs = [], []
            for piece in self.pieces(item, parameters):
                pieces.append(replace(piece, feeds={}))
                pending.append((piece, outputs))
                if len(pending) == size:
                    run()
            waiting.append((pieces, outputs))
            yield from finished()
        if pending:
            run()
        yield from finished()


def recording_of(item: Any) -> Recording:
    """Return an input as a recording. Raises UsageError for keys that cannot be meant."""
    if not isinstance(item, Mapping):
        return Recording(item)
    # A row of a data set names its file beside the array.
    own = _OF_INPUTS if item.get("raw") is not None else (*_OF_INPUTS, "array", "path")
    extras = {key: value for key, value in item.items() if key not in own}
    if taken := sorted(set(extras) & set(_OF_RESULTS)):
        raise UsageError(f"the input's '{taken[0]}' would replace the result's: leave it out, or name it otherwise")
    stride = item.get("stride")
    return Recording(item, None if stride is None else _checked_stride(stride), item.get("sampling_rate", 0), extras)


def chunked(blocks: Iterator[np.ndarray], *, length: int, left: int, right: int) -> Iterator[Chunk]:
    """Cut samples into chunks of `length` that overlap by `left` and `right`; the ends have no overlap.

    The last one is shorter, and longer than the overlap. Holds one chunk and one block at a time.
    """
    step = length - left - right
    if step < 1:
        raise UsageError(f"a chunk of {length} samples must be longer than its overlap of {left} + {right}")
    held, first = np.zeros(0, np.float32), True
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > length:
            yield Chunk(held[:length], 0 if first else left, right)
            held, first = held[step:], False
    yield Chunk(held, 0 if first else left, 0)


def whole(blocks: Iterator[np.ndarray], *, seconds: float, sampling_rate: int) -> np.ndarray:
    """Return all samples; raise UsageError as soon as there are more than these seconds hold."""
    read, count = [], 0
    for block in blocks:
        count += len(block)
        if count > seconds * sampling_rate:
            raise UsageError(f"the audio is longer than {seconds:g} s, too long to run at once: pass chunk_length_s=30")
        read.append(block)
    return np.concatenate(read)


def _checked_stride(stride: Any) -> tuple[int, int]:
    if (
        not isinstance(stride, list | tuple)
        or len(stride) != 2
        or not all(_is_number(side) and side >= 0 for side in stride)
    ):
        raise UsageError(f"stride must be (left, right) in samples, from 0 on, got {stride!r}")
    return stride[0], stride[1]


def _check_seconds(name: str, value: Any) -> None:
    if value is not None and (not _is_number(value) or not 0 <= value < float("inf")):
        raise UsageError(f"{name} must be a number of seconds from 0 on, got {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
