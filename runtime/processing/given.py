"""Processors that a caller gives in place of the bundle's: a folder, or an object that does their work.

Nothing of a kind is imported before one of it is given.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .audio.features import SpeechProcessor
    from .image.processor import ImageProcessor
    from .text.tokenizer import Tokenizer


def given_processors(
    own: "Tokenizer | None", *, tokenizer: Any = None, image_processor: Any = None, feature_extractor: Any = None
) -> dict[str, Any]:
    """Return what was given by the names of a loaded bundle's processors; `own` is the tokenizer of the bundle."""
    found: dict[str, Any] = {}
    if tokenizer is not None:
        from .text.given import given_tokenizer

        found["tokenizer"] = given_tokenizer(tokenizer, own)
    if image_processor is not None:
        found["image_processor"] = given_image_processor(image_processor)
    if feature_extractor is not None:
        found["speech_processor"] = given_speech_processor(feature_extractor)
    return found


def given_image_processor(source: Any) -> "ImageProcessor":
    """Return the image processor of a folder, or the object itself."""
    from .image.processor import ImageProcessor

    return ImageProcessor.from_folder(Path(source)) if isinstance(source, (str, Path)) else source


def given_speech_processor(source: Any) -> "SpeechProcessor":
    """Return the feature extractor of a folder, or the object itself."""
    from .audio.features import SpeechProcessor

    return SpeechProcessor.from_folder(Path(source)) if isinstance(source, (str, Path)) else source
