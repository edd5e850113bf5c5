"""faster-whisper on CTranslate2's files, without what the others do not do; `variant` is its compute type."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a folder of CTranslate2's by kind."""
    whisper: Any = import_module("faster_whisper").WhisperModel(
        model, device="cpu", compute_type=variant, cpu_threads=threads, num_workers=1
    )

    def transcribe(*, samples: str, long: bool) -> Callable[[], str]:
        audio = np.load(samples)
        options = {
            "beam_size": 1,
            "temperature": 0.0,
            "vad_filter": False,
            "condition_on_previous_text": False,
            "without_timestamps": not long,
            # transformers and vitrify judge no window unless they are asked to.
            "compression_ratio_threshold": None,
            "log_prob_threshold": None,
            "no_speech_threshold": None,
        }

        def run() -> str:
            segments, _ = whisper.transcribe(audio, language="en", **options)
            return "".join(segment.text for segment in segments)

        return run

    return {"transcribe": transcribe}
