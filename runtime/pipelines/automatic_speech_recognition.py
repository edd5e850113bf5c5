"""automatic-speech-recognition: the text of a recording; which way depends on the bundle's facts, by a table."""

import importlib
from typing import TYPE_CHECKING, Any, Self

from ..errors import UnsupportedError
from .shared.audio import AudioPipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

_BY_HEAD = {
    "ctc": "speech.ctc:CTCRecognitionPipeline",
    "speech-seq2seq": "speech.seq2seq:Seq2SeqRecognitionPipeline",
}
# Those of a head whose recordings are heard in a way of their own, by their feature extractor.
_BY_EXTRACTOR = {("speech-seq2seq", "WhisperFeatureExtractor"): "speech.whisper:WhisperRecognitionPipeline"}


class AutomaticSpeechRecognitionPipeline(AudioPipeline):
    """`(audio, ...)` -> {"text", "chunks"?}; making one makes the class that the bundle's head needs."""

    def __new__(cls, loaded: "LoadedBundle", **options: Any) -> Self:  # noqa: ARG004 - for __init__
        """Return a pipeline of the class for this bundle, not yet initialised."""
        head = loaded.bundle.head
        if head not in _BY_HEAD:
            raise UnsupportedError(f"no speech recognition with the head '{head}' (there is: {', '.join(_BY_HEAD)})")
        module, name = _class_for(loaded, head).split(":")
        return object.__new__(getattr(importlib.import_module(f".{module}", __package__), name))


def _class_for(loaded: "LoadedBundle", head: str) -> str:
    if not any(known == head for known, _ in _BY_EXTRACTOR) or loaded.speech_processor is None:
        return _BY_HEAD[head]
    return _BY_EXTRACTOR.get((head, loaded.speech_processor.name), _BY_HEAD[head])
