"""Speech recognition with Whisper: one window, a long recording window by window, or chunks in batches."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...errors import UsageError
from ...generation.config import GenerationConfig
from ...generation.whisper import windows as whisper
from ...generation.whisper.prompt import TranscriptionOptions
from ...graphs.signature import past_of
from ...processing.audio.transcripts import ChunkTokens, transcript
from ..shared.audio import Recording
from ..shared.pieces import Piece
from .parameters import RecognitionParameters
from .seq2seq import Heard, Seq2SeqRecognitionPipeline

if TYPE_CHECKING:
    from ...generation.base import Decoding
    from ...loading import LoadedBundle

_LOG = logging.getLogger("vitrify")
_OPTIONS = tuple(item.name for item in dataclasses.fields(TranscriptionOptions))
# The pipeline's own way to say what generation calls otherwise.
_OF_GENERATION = tuple(name for name in _OPTIONS if name != "return_timestamps")


@dataclass(frozen=True)
class WhisperParameters(RecognitionParameters):
    """`return_timestamps`: True adds "chunks" with the times of segments, "word" with those of words.

    `return_language` names each chunk's language. Of generation's arguments Whisper takes its own too, see
    `TranscriptionOptions`; `return_timestamps` among them, in `generate_kwargs`, changes what is generated and adds no
    "chunks", as in the mirrored pipeline.
    """

    beside: ClassVar[tuple[str, ...]] = _OF_GENERATION

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in (self.return_timestamps, self.generate_kwargs.get("return_timestamps")):
            if value not in (None, False, True, "word"):
                raise UsageError(f"return_timestamps={value!r}; Whisper allows: True for segments, 'word' for words")
        if "forced_decoder_ids" in self.generate_kwargs:
            raise UsageError("forced_decoder_ids are no longer supported: pass language= and task= instead")


class WhisperRecognitionPipeline(Seq2SeqRecognitionPipeline):
    """`(audio, *, return_timestamps=None, return_language=None, chunk_length_s=None, language=None, task=None, ...)`.

    The result is {"text"}, with "chunks" [{"text", "timestamp": (start, end), "language"?}] where times or languages
    are asked for. More than 30 seconds go window by window, each from where the one before ended; with
    `chunk_length_s` they are cut into chunks that overlap and run in batches of `batch_size`.
    """

    parameters = WhisperParameters
    longest_s = 4 * 3600

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        self._asked(self.options)  # what cannot be right is said before the first recording

    @cached_property
    def speech_model(self) -> whisper.SpeechModel:
        """The bundle's graphs as generation takes them."""
        return _BundleModel(self.loaded)

    def read(self, heard: Sequence[Heard], outputs: Sequence[Any], parameters: Any) -> dict[str, Any]:
        """Return the transcript of what each chunk said."""
        rate = self.speech_processor.sampling_rate
        chunks = []
        for each, found in zip(heard, outputs, strict=True):
            length, left, right = each.stride or (0, 0, 0)
            stride = (length / rate, left / rate, right / rate) if each.stride else None
            named = parameters.return_language and found.language is not None
            tokens = [found.language, *found.tokens] if named else found.tokens
            chunks.append(ChunkTokens(tokens, stride, [0.0, *found.times] if named else found.times))
        return transcript(
            self.decoder,
            chunks,
            return_timestamps=self._timestamps(parameters),
            return_language=parameters.return_language,
            time_precision=self.speech_processor.settings.chunk_length / self.config["max_source_positions"],
        )

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: Any) -> None:
        options, config = self._asked(parameters)
        recordings = [self._recording(piece.feeds["samples"]) for piece, _ in pending]
        found = whisper.transcribe(self.speech_model, recordings, config=config, options=options)
        for (_, outputs), transcription in zip(pending, found, strict=True):
            outputs.append(transcription)

    def _recording(self, samples: np.ndarray) -> whisper.Recording:
        """Return a recording's features: a whole window of them, or all of a longer one."""
        is_long = len(samples) > self.speech_processor.settings.n_samples
        longer = {"truncation": False, "padding": "longest"} if is_long else {}
        arrays = self.speech_processor(samples, return_attention_mask=True, **longer)
        return whisper.Recording(arrays["input_features"][0], int(arrays["attention_mask"].sum()))

    def _asked(self, parameters: WhisperParameters) -> tuple[TranscriptionOptions, GenerationConfig]:
        """Return what generation is asked for; UsageError if the model cannot do it."""
        window = self.speech_processor.settings.chunk_length
        if (parameters.chunk_length_s or 0) > window:
            raise UsageError(
                f"chunk_length_s={parameters.chunk_length_s}: Whisper hears {window} seconds at once; pass at most that"
            )
        given = dict(parameters.generate_kwargs)
        mine = {name: given.pop(name) for name in _OPTIONS if name in given}
        if (timestamps := self._timestamps(parameters)) is not None:
            mine["return_timestamps"] = timestamps
        if given.pop("do_sample", None) and not mine.get("temperature"):
            _LOG.warning("do_sample=True has no effect on Whisper: pass the temperature=... to sample at")
        options = TranscriptionOptions(**mine)
        whisper.check_request(self.config, self.loaded.generation_config, options)
        return options, self.config_of(given)

    def _timestamps(self, parameters: WhisperParameters) -> bool | str | None:
        return (
            parameters.return_timestamps
            or self.loaded.generation_config.get("return_timestamps")
            or (parameters.return_timestamps)
        )

    def _own_stride(self, recording: Recording, length: int) -> tuple[int, int, int] | None:
        if recording.stride is None:
            return None
        ratio = self.speech_processor.sampling_rate / recording.rate
        left, right = (round(side * ratio) for side in recording.stride)
        if left + right > length:
            raise UsageError(f"stride {recording.stride} is longer than the audio ({length} samples)")
        return length, left, right


class _BundleModel:
    """The graphs of a bundle as a `SpeechModel`."""

    def __init__(self, loaded: "LoadedBundle") -> None:
        self.loaded = loaded

    @property
    def config(self) -> Mapping[str, Any]:
        return self.loaded.config

    @property
    def generation_config(self) -> Mapping[str, Any]:
        return self.loaded.generation_config

    def decoding(self, features: np.ndarray) -> "Decoding":
        return self.loaded.decoding(input_features=features)

    def alignment(self, features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        graph, aligner = self.loaded.graph, self.loaded.graph("alignment")
        states = graph("encoder_model")(input_features=features)[0]
        cross = graph("cross_attention")(encoder_hidden_states=states)
        read = {past_of(name): value for name, value in cross.items()}
        read = {name: value for name, value in read.items() if name in aligner.input_names}
        return aligner(input_ids=tokens, **read)["cross_attentions"]
