"""automatic-speech-recognition: the text of a recording; which way depends on the bundle's facts, by a table."""

import importlib
from typing import TYPE_CHECKING, Any, Self

from ..errors import UnsupportedError
from .audio_inputs import AudioPipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

# By head, and by the feature extractor where one has its own way.
_WAYS = {
    ("ctc", None): "ctc_recognition:CTCRecognitionPipeline",
    ("speech-seq2seq", "WhisperFeatureExtractor"): "whisper:WhisperRecognitionPipeline",
    ("speech-seq2seq", None): "seq2seq_recognition:Seq2SeqRecognitionPipeline",
}


class AutomaticSpeechRecognitionPipeline(AudioPipeline):
    """`(audio, ...)` -> {"text", "chunks"?}; making one makes the class that the bundle's head needs."""

    def __new__(cls, bundle: "LoadedBundle", **options: Any) -> Self:  # noqa: ARG004 - for __init__
        """Return a pipeline of the class for this bundle, not yet initialised."""
        head, extractor = bundle.manifest.head, bundle.speech_processor
        way = _WAYS.get((head, extractor.name if extractor else None)) or _WAYS.get((head, None))
        if way is None:
            heads = ", ".join(dict.fromkeys(known for known, _ in _WAYS))
            raise UnsupportedError(f"no speech recognition with the head '{head}' (there is: {heads})")
        module, name = way.split(":")
        return object.__new__(getattr(importlib.import_module(f".{module}", __package__), name))
