"""What a feature extractor's preprocessor_config.json says: its settings, checked and bounded."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import IntegrityError, UsageError
from .audio import RATES

_MAX_NUMBER = 1e30  # fits float32


@dataclass(frozen=True)
class SpeechSettings:
    """What a configuration says, under transformers' names; each class reads the part that it knows.

    `chunk_length` is in seconds, `hop_length` and `n_fft` in samples; `feature_size` and `num_mel_bins` are counts of
    mel bands.
    """

    sampling_rate: int = 16_000
    feature_size: int = 80
    padding_value: float = 0.0
    padding_side: str = "right"
    return_attention_mask: bool = False
    do_normalize: bool = False
    dither: float = 0.0
    hop_length: int = 160
    n_fft: int = 400
    chunk_length: int = 30
    num_mel_bins: int = 80
    do_ceptral_normalize: bool = True
    normalize_means: bool = True
    normalize_vars: bool = True

    @property
    def n_samples(self) -> int:
        """The samples of one chunk."""
        return self.chunk_length * self.sampling_rate

    @property
    def nb_max_frames(self) -> int:
        """The frames of one chunk."""
        return self.n_samples // self.hop_length


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r} (allowed: true, false)")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise UsageError(f"{name} is {value!r:.40} (allowed: a finite number of at most {_MAX_NUMBER:g})")
    return float(value)


def _count(name: str, value: Any, *, allowed: range) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
        raise UsageError(f"{name} is {value!r:.40} (allowed: whole numbers from {allowed[0]} to {allowed[-1]})")
    return int(value)


def _only(name: str, value: Any, *, allowed: Any) -> Any:
    if value != allowed:
        raise UsageError(f"{name} is {value!r:.40} (allowed: {allowed!r})")
    return allowed


SETTING_NAMES = tuple(field.name for field in fields(SpeechSettings))
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(SETTING_NAMES, _flag),
    "sampling_rate": partial(_count, allowed=RATES),
    "feature_size": partial(_count, allowed=range(1, 1025)),
    "num_mel_bins": partial(_count, allowed=range(1, 1025)),
    "hop_length": partial(_count, allowed=range(1, 2**16)),
    "n_fft": partial(_count, allowed=range(2, 2**16, 2)),
    "chunk_length": partial(_count, allowed=range(1, 3601)),
    "padding_value": _number,
    # transformers' own normalization is wrong for padding on the left, and no published extractor pads there.
    "padding_side": partial(_only, allowed="right"),
    "dither": partial(_only, allowed=0),  # noise would make results differ from run to run
}


def checked_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the values, checked; null means unset, other names belong to other programs."""
    return {name: check(name, config[name]) for name, check in _CHECKS.items() if config.get(name) is not None}


def read_config(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises IntegrityError where there is none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"there is no {path.name} in '{path.parent}', so audio cannot be prepared") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"cannot read '{path}' as JSON: {error}") from error
    if not isinstance(config, dict):
        raise IntegrityError(f"'{path}' holds a {type(config).__name__}, not an object")
    return config
