"""Speech recognition with a CTC model (wav2vec2, hubert, wavlm, ...): each frame names a token, or none."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...errors import UnsupportedError, UsageError
from ...graphs.signature import Axis
from ...numerics import Row
from ...processing.audio.ctc import CTCDecoder, best_path
from ..automatic_speech_recognition import AutomaticSpeechRecognitionPipeline
from ..shared.audio import Chunk, Recording, chunked, recording_of, whole
from ..shared.pieces import Piece
from .parameters import RecognitionParameters

LONGEST_AT_ONCE_S = 180
"""Seconds that run without chunks: one layer's attention over more needs gigabytes (12 heads, 50 frames/s: 3.9 GB)."""

TIMESTAMPS = ("char", "word")


@dataclass(frozen=True)
class CTCRecognitionParameters(RecognitionParameters):
    """`return_timestamps`: "char" or "word" adds "chunks", each a text with its start and end in seconds.

    Generation's arguments are accepted without effect: a CTC model generates no tokens.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.return_language is not None:
            raise UsageError("return_language: only Whisper can tell it; leave it out")
        if self.return_timestamps not in (None, False, *TIMESTAMPS):
            raise UsageError(f"return_timestamps={self.return_timestamps!r}; a CTC model allows: 'char', 'word', False")


@dataclass(frozen=True)
class Frames:
    """What of a piece's frames is kept, and what of its input travels through to the result."""

    kept: slice
    extras: Any


class CTCRecognitionPipeline(AutomaticSpeechRecognitionPipeline):
    """`(audio, *, chunk_length_s=None, stride_length_s=None, return_timestamps=None, timeout=None)`.

    The result is {"text"}, with "chunks" [{"text", "timestamp": (start, end)}] where timestamps are asked for, and
    whatever else stood in a mapping, one value for each chunk that ran.
    """

    parameters = CTCRecognitionParameters

    def pieces(self, item: Any, parameters: CTCRecognitionParameters) -> Iterator[Piece]:
        """Yield the recording's chunks."""
        recording = recording_of(item)
        takes_mask = "attention_mask" in self.loaded.model.input_names
        for number, chunk in enumerate(self._chunks(recording, parameters)):
            if len(chunk.samples) < self._shortest:
                if number:
                    continue  # a rest that makes no frame
                raise UsageError(
                    f"the audio has {len(chunk.samples)} samples, this model needs at least {self._shortest}"
                )
            feeds = self.speech_processor(chunk.samples, return_attention_mask=takes_mask)
            frames = Frames(self._kept(chunk), recording.extras)
            yield Piece({name: array[0] for name, array in feeds.items()}, frames)

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: CTCRecognitionParameters) -> Any:
        """Return the text of all frames that are kept, decoded together."""
        ids = np.concatenate([tokens[piece.context.kept] for piece, tokens in zip(pieces, outputs, strict=True)])
        result: dict[str, Any] = {"text": self.decoder.text(ids)}
        if parameters.return_timestamps:
            spans = self.decoder.words(ids) if parameters.return_timestamps == "word" else self.decoder.characters(ids)
            result["chunks"] = [
                {"text": span.text, "timestamp": (self._seconds(span.start), self._seconds(span.end))} for span in spans
            ]
        extras = defaultdict(list)
        for piece in pieces:
            for key, value in piece.context.extras.items():
                extras[key].append(value)
        return {**result, **extras}

    @cached_property
    def decoder(self) -> CTCDecoder:
        """What turns frames into text."""
        if self.tokenizer is None:
            raise UnsupportedError("the bundle has no tokenizer.json to decode with: export the checkpoint again")
        return CTCDecoder.from_tokenizer(self.tokenizer)

    @cached_property
    def samples_per_frame(self) -> int:
        """The product of the strides of the convolutions over the samples."""
        strides = self.config.get("conv_stride")
        if not strides:
            raise UnsupportedError("config.json names no conv_stride, so chunks and timestamps cannot be placed")
        return math.prod(strides)

    @property
    def _shortest(self) -> int:
        return self.loaded.bundle.axes.get("samples", Axis()).minimum

    def kept(self, piece: Piece, row: Row, parameters: Any) -> np.ndarray:  # noqa: ARG002 - the same for all
        """Return each frame's token only: the logits of an hour would not fit."""
        return best_path(row["logits"])

    def _chunks(self, recording: Recording, parameters: CTCRecognitionParameters) -> Iterator[Chunk]:
        blocks = self.blocks(recording, parameters)
        if not parameters.chunk_length_s:
            rate = self.speech_processor.sampling_rate
            samples = whole(blocks, seconds=LONGEST_AT_ONCE_S, sampling_rate=rate)
            return iter([self._with_stride(samples, recording)])
        if recording.stride is not None:
            raise UsageError("audio with its own stride is a chunk already: leave out stride or chunk_length_s")
        left, right = map(self._aligned, parameters.strides)
        return chunked(blocks, length=self._aligned(parameters.chunk_length_s), left=left, right=right)

    def _with_stride(self, samples: np.ndarray, recording: Recording) -> Chunk:
        if recording.stride is None:
            return Chunk(samples)
        ratio = self.speech_processor.sampling_rate / recording.rate
        left, right = (round(side * ratio) for side in recording.stride)
        if left + right > len(samples):
            raise UsageError(f"stride {recording.stride} is longer than the audio ({len(samples)} samples)")
        return Chunk(samples, left, right)

    def _aligned(self, seconds: float) -> int:
        """Return seconds as samples, rounded to whole frames."""
        frames = seconds * self.speech_processor.sampling_rate / self.samples_per_frame
        return round(frames) * self.samples_per_frame

    def _kept(self, chunk: Chunk) -> slice:
        """Return the frames between the overlaps; the last few samples of a chunk make no frame of their own."""
        if not chunk.left and not chunk.right:
            return slice(None)
        total = round(len(chunk.samples) / self.samples_per_frame)
        left, right = (round(side / len(chunk.samples) * total) for side in (chunk.left, chunk.right))
        return slice(left, total - right)

    def _seconds(self, frame: int) -> float:
        return frame * self.samples_per_frame / self.speech_processor.sampling_rate
