"""Feature extractors of a checkpoint: loaded by transformers, written complete, and proven equal in the runtime."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.errors import IntegrityError, UnsupportedError, UsageError
from ..runtime.processing.speech import CONFIG_NAME, EXTRACTORS, SpeechProcessor
from ..runtime.processing.speech_settings import SETTING_NAMES
from .graph import quiet

TOLERANCE = 1e-4
"""The largest difference of one value: transformers' own torch and numpy paths differ by up to 7e-5 for Whisper."""

# What transformers.js reads beside the settings.
_FOR_OTHERS = ("n_samples", "nb_max_frames")
_LENGTHS = (16_000, 12_345, 1_920)
_MESSAGE_LENGTH = 300


def load_speech_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Return transformers' feature extractor of a checkpoint folder.

    Raises UsageError without one or without leave to run its code, IntegrityError where its file is broken,
    UnsupportedError where transformers cannot build it.
    """
    from transformers import AutoFeatureExtractor

    if not any((folder / name).is_file() for name in (CONFIG_NAME, "processor_config.json")):
        raise UsageError(f"checkpoint '{folder}' has no feature extractor (no {CONFIG_NAME})")
    try:
        with quiet():
            return AutoFeatureExtractor.from_pretrained(
                folder, trust_remote_code=trust_remote_code, local_files_only=True
            )
    except (ValueError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise UsageError(
                f"the feature extractor of '{folder}' is code of its own; to run it, pass --trust-remote-code"
            ) from error
        raise UnsupportedError(f"the feature extractor of '{folder}' cannot be loaded: {_one_line(error)}") from error
    except Exception as error:
        raise IntegrityError(f"the feature extractor of '{folder}' is broken: {_one_line(error)}") from error


def write_speech_processor(extractor: Any, folder: Path) -> None:
    """Write a complete preprocessor_config.json (same extractor, same bytes), once the runtime agrees with it.

    Raises UnsupportedError for a class that the runtime does not know, or where it computes other values.
    """
    text = json.dumps(_complete_config(extractor), indent=2, sort_keys=True) + "\n"
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / CONFIG_NAME).write_text(text, encoding="utf-8")
        _prove_equal(extractor, scratch)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(text, encoding="utf-8")


def _complete_config(extractor: Any) -> dict[str, Any]:
    """Return what the extractor acts on: its class's defaults included, remote code and tables of filters not."""
    saved = json.loads(extractor.to_json_string())
    name = str(saved.get("feature_extractor_type"))
    if name not in EXTRACTORS:
        raise UnsupportedError(f"feature extractor '{name}' is not supported (supported: {', '.join(EXTRACTORS)})")
    kept = {key: saved[key] for key in (*SETTING_NAMES, *_FOR_OTHERS) if saved.get(key) is not None}
    return kept | {"feature_extractor_type": name}


def _prove_equal(extractor: Any, folder: Path) -> None:
    """Compare transformers' extractor, as given and as read back, with the runtime's on synthetic sounds."""
    try:
        ours = SpeechProcessor.from_folder(folder)
    except IntegrityError as error:
        raise UnsupportedError(
            f"feature extractor '{type(extractor).__name__}' is not supported: {error.__cause__ or error}"
        ) from error
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
        raise UnsupportedError(f"{case}: {_one_line(error)}") from error
    if set(mine) != set(theirs):
        raise UnsupportedError(f"{case}: transformers gives {', '.join(theirs)}, the runtime {', '.join(mine)}")
    for name, values in theirs.items():
        if values.shape != mine[name].shape:
            raise UnsupportedError(f"{case}: transformers gives {name} {values.shape}, the runtime {mine[name].shape}")
        difference = float(np.abs(values.astype(np.float64) - mine[name]).max())
        if not difference <= TOLERANCE:
            raise UnsupportedError(
                f"{case}: {name} differs from transformers' by {difference:.2g} (allowed: {TOLERANCE:g})"
            )


def _sound(samples: int, sampling_rate: int) -> np.ndarray:
    """Return a rising tone with overtones that fades in and out over a little noise, float32 [samples]."""
    time = np.arange(samples) / sampling_rate
    phase = 2 * np.pi * (150 * time + 400 * time**2)
    tone = np.sin(phase) + 0.4 * np.sin(3 * phase)
    noise = np.random.default_rng(samples).standard_normal(samples)
    return ((0.3 * tone + 0.05 * noise) * (0.55 + 0.45 * np.sin(7 * time))).astype(np.float32)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MESSAGE_LENGTH]
