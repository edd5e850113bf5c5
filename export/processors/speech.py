"""Feature extractors of a checkpoint: loaded by transformers, written complete, and verified equal in the runtime."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.errors import UnsupportedError
from ...runtime.processing.audio.features import EXTRACTORS, SpeechProcessor
from ...runtime.processing.audio.settings import SETTING_NAMES
from ...runtime.processing.preprocessor_config import CONFIG_NAME, known_class
from ..reasons import reason_of
from .preprocessor import load_preprocessor, require_same_arrays, runtime_copy, write_preprocessor

TOLERANCES: Mapping[str, float] = {"input_values": 1e-4, "input_features": 1e-4}
"""The largest difference of one value: transformers' own torch and numpy paths differ by up to 7e-5 for Whisper."""

# What transformers.js reads beside the settings.
_FOR_OTHERS = ("n_samples", "nb_max_frames")
_LENGTHS = (16_000, 12_345, 1_920)


def load_speech_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return transformers' feature extractor of a checkpoint folder.

    Raises UsageError without one or without leave to run its code, IntegrityError where its file is broken,
    UnsupportedError where transformers cannot build it.
    """
    from transformers import AutoFeatureExtractor

    return load_preprocessor(
        lambda: AutoFeatureExtractor.from_pretrained(
            folder, trust_remote_code=trust_remote_code, local_files_only=True
        ),
        folder,
        what="feature extractor",
    )


def write_speech_processor(extractor: Any, folder: Path) -> None:
    """Write a complete preprocessor_config.json (same extractor, same bytes), once the runtime agrees with it.

    Raises UnsupportedError for a class that the runtime does not know, or where it computes other values.
    """
    write_preprocessor(_complete_config(extractor), folder, check=lambda scratch: _check_equal(extractor, scratch))


def _complete_config(extractor: Any) -> dict[str, Any]:
    """Return what the extractor acts on: its class's defaults included, remote code and tables of filters not."""
    saved = json.loads(extractor.to_json_string())
    name = known_class(str(saved.get("feature_extractor_type")), EXTRACTORS, what="feature extractor")
    kept = {key: saved[key] for key in (*SETTING_NAMES, *_FOR_OTHERS) if saved.get(key) is not None}
    return kept | {"feature_extractor_type": name}


def _check_equal(extractor: Any, folder: Path) -> None:
    """Compare transformers' extractor, as given and as read back, with the runtime's on synthetic sounds."""
    ours = runtime_copy(SpeechProcessor.from_folder, folder, what=f"feature extractor '{type(extractor).__name__}'")
    if _complete_config(load_speech_processor(folder)) != _complete_config(extractor):
        raise UnsupportedError(f"feature extractor '{ours.name}' does not read back from {CONFIG_NAME} as it was")
    for case, audio, options in _cases(ours):
        _compare(extractor, ours, f"feature extractor '{ours.name}' on {case}", audio, options)


def _cases(ours: SpeechProcessor) -> Iterator[tuple[str, list[np.ndarray], dict[str, Any]]]:
    """Yield sounds with a call's options: alone, together, and, where it pads to a chunk, longer than one."""
    sounds = [_sound(length, ours.sampling_rate) for length in _LENGTHS]
    pads = EXTRACTORS[ours.name].pads_to_chunk
    # A mask that only Whisper's configuration asks for comes from transformers in samples, which no model takes.
    plain = {"return_attention_mask": True} if pads else {}
    for sound in sounds:
        yield f"{len(sound)} samples", [sound], plain
        yield f"{len(sound)} samples without padding", [sound], {"padding": "longest", "return_attention_mask": True}
    yield "three lengths together", sounds, {"padding": True, "return_attention_mask": True}
    if pads:
        long = _sound(ours.settings.n_samples + 1_234, ours.sampling_rate)
        yield "more than one chunk, cut", [long], plain
        yield "more than one chunk", [long], {"truncation": False, "padding": "longest", "return_attention_mask": True}


def _compare(
    extractor: Any, ours: SpeechProcessor, case: str, audio: list[np.ndarray], options: dict[str, Any]
) -> None:
    try:
        theirs = extractor(audio, sampling_rate=ours.sampling_rate, return_tensors="np", **options)
        mine = ours(audio, **options)
    except Exception as error:
        raise UnsupportedError(f"{case}: {reason_of(error)}") from error
    require_same_arrays(theirs, mine, case=case, tolerances=TOLERANCES)


def _sound(samples: int, sampling_rate: int) -> np.ndarray:
    """Return a rising tone with overtones that fades in and out over a little noise, float32 [samples]."""
    time = np.arange(samples) / sampling_rate
    phase = 2 * np.pi * (150 * time + 400 * time**2)
    tone = np.sin(phase) + 0.4 * np.sin(3 * phase)
    noise = np.random.default_rng(samples).standard_normal(samples)
    return ((0.3 * tone + 0.05 * noise) * (0.55 + 0.45 * np.sin(7 * time))).astype(np.float32)
