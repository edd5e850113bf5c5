"""Speech recognition with an encoder-decoder (speech_to_text, moonshine, ...): plain generation, chunks joined."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ...errors import UnsupportedError, UsageError
from ...generation.config import GenerationConfig
from ...generation.prompts import first_tokens
from ...processing.audio.common_sequence import join_overlaps
from ...processing.text.tokenizer import Tokenizer
from ..automatic_speech_recognition import AutomaticSpeechRecognitionPipeline
from ..shared.audio import AudioParameters, Chunk, Recording, chunked, recording_of, whole
from ..shared.pieces import Piece
from .parameters import RecognitionParameters

if TYPE_CHECKING:
    from ...loading import LoadedBundle

# What generation is asked for unless the checkpoint or the caller says otherwise, as in the mirrored pipeline.
BEAMS, NEW_TOKENS = 5, 256

_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class Heard:
    """Of a chunk: its length and overlaps in samples, None where it stands for itself; what travels to the result."""

    stride: tuple[int, int, int] | None
    extras: Mapping[str, Any]


class Seq2SeqRecognitionPipeline(AutomaticSpeechRecognitionPipeline):
    """`(audio, *, chunk_length_s=None, stride_length_s=None, timeout=None, generate_kwargs=None, ...)` -> {"text"}."""

    parameters = RecognitionParameters

    def __new__(cls, loaded: "LoadedBundle", **options: Any) -> Self:  # noqa: ARG004 - for __init__
        """Return a pipeline of this class: it was asked for by name, or chosen already."""
        return object.__new__(cls)

    # Seconds that run without chunks; more would be one sequence of the encoder.
    longest_s: ClassVar[float] = 180

    def pieces(self, item: Any, parameters: Any) -> Iterator[Piece]:
        """Yield the recording's chunks."""
        recording = recording_of(item)
        for chunk, stride in self._chunks(recording, parameters):
            yield Piece({"samples": chunk.samples}, Heard(stride, recording.extras))

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: Any) -> Any:
        """Return the text of all chunks, what overlaps told once, and the input's other keys."""
        heard: list[Heard] = [piece.context for piece in pieces]
        extras = defaultdict(list)
        for key, value in (pair for each in heard for pair in each.extras.items()):
            extras[key].append(value)
        return {**self.read(heard, outputs, parameters), **extras}

    def read(self, heard: Sequence[Heard], outputs: Sequence[np.ndarray], parameters: Any) -> dict[str, Any]:  # noqa: ARG002 - for Whisper
        """Return the result of what each chunk said.

        transformers 5.23 loses the overlap on its way, and so tells it twice.
        """
        if heard[-1].stride is not None:
            tokens = join_overlaps([each.tolist() for each in outputs], special=set(self.decoder.all_special_ids))
        else:
            tokens = np.concatenate(outputs).tolist()
        return {"text": self.decoder.decode(tokens, skip_special_tokens=True)}

    def config_of(self, given: Mapping[str, Any]) -> GenerationConfig:
        """Return the checkpoint's generation config with the pipeline's defaults and what the caller gives over it.

        What the caller gives as None is taken back.
        """
        saved = dict(self.loaded.generation_config)
        fixed = {name for name, value in saved.items() if value is not None} | set(given)
        defaults: dict[str, Any] = {} if "num_beams" in fixed else {"num_beams": BEAMS}
        if not fixed & {"max_new_tokens", "max_length"}:
            defaults["max_new_tokens"] = NEW_TOKENS
        if "pad_token_id" not in fixed:
            defaults["pad_token_id"] = self.decoder.pad_token_id
        config = GenerationConfig.from_mapping(saved).updated(**defaults, **given)
        if config.returned > 1:
            raise UsageError(f"num_return_sequences={config.returned}: '{self.task}' returns one text per input")
        return config

    @cached_property
    def decoder(self) -> Tokenizer:
        """What turns tokens into text."""
        if self.tokenizer is None:
            raise UnsupportedError("the bundle has no tokenizer.json to decode with: export the checkpoint again")
        return self.tokenizer

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: Any) -> None:
        from ...generation.loop import generate

        if parameters.return_timestamps or parameters.return_language:
            name = "return_timestamps" if parameters.return_timestamps else "return_language"
            raise UsageError(f"{name}: of encoder-decoder models only Whisper can tell it; leave it out")
        config = self.config_of(parameters.generate_kwargs)
        arrays = self.speech_processor(
            [piece.feeds["samples"] for piece, _ in pending], padding=True, return_attention_mask=True
        )
        usual = config.bos_token_id if config.decoder_start_token_id is None else config.decoder_start_token_id
        starts = first_tokens(usual, "decoder_start_token_id", len(pending))
        generated = generate(self.loaded.decoding(**arrays), starts, config)
        for (_, outputs), tokens in zip(pending, generated.sequences, strict=True):
            outputs.append(np.asarray(tokens, np.int64))

    def _chunks(
        self, recording: Recording, parameters: AudioParameters
    ) -> Iterator[tuple[Chunk, tuple[int, int, int] | None]]:
        """Yield chunks with their strides."""
        blocks = self.blocks(recording, parameters)
        rate = self.speech_processor.sampling_rate
        if not parameters.chunk_length_s:
            samples = whole(blocks, seconds=self.longest_s, sampling_rate=rate)
            yield Chunk(samples), self._own_stride(recording, len(samples))
            return
        if recording.stride is not None:
            raise UsageError("audio with its own stride is a chunk already: leave out stride or chunk_length_s")
        left, right = (round(seconds * rate) for seconds in parameters.strides)
        for chunk in chunked(blocks, length=round(parameters.chunk_length_s * rate), left=left, right=right):
            yield chunk, (len(chunk.samples), chunk.left, chunk.right)

    def _own_stride(self, recording: Recording, length: int) -> tuple[int, int, int] | None:
        if recording.stride is not None:
            raise UsageError("a stride of the audio's own is for CTC models and Whisper: leave 'stride' out")
        del length
        return None
