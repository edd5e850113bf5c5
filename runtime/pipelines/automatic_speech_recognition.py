"""automatic-speech-recognition: the text of a recording; which way depends on the bundle's head, by a table."""

import importlib
from typing import TYPE_CHECKING, Any, Self

from ..errors import UnsupportedError
from .audio_inputs import AudioPipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

_BY_HEAD = {"ctc": "ctc_recognition:CTCRecognitionPipeline"}


class AutomaticSpeechRecognitionPipeline(AudioPipeline):
    """`(audio, ...)` -> {"text", "chunks"?}; making one makes the class that the bundle's head needs."""

    def __new__(cls, bundle: "LoadedBundle", **options: Any) -> Self:  # noqa: ARG004 - for __init__
        """Return a pipeline of the class for this bundle, not yet initialised."""
        head = bundle.manifest.head
        if head not in _BY_HEAD:
            raise UnsupportedError(f"no speech recognition with the head '{head}' (there is: {', '.join(_BY_HEAD)})")
        module, name = _BY_HEAD[head].split(":")
        return object.__new__(getattr(importlib.import_module(f".{module}", __package__), name))
