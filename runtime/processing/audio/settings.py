"""What a feature extractor's preprocessor_config.json says: its settings, checked and bounded."""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from ...errors import UsageError
from ...json_files import brief
from ..preprocessor_config import Check, count, flag, number
from .source import RATES


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


def _only(name: str, value: Any, *, allowed: Any) -> Any:
    if value != allowed:
        raise UsageError(f"{name} is {brief(value)} (allowed: {allowed!r})")
    return allowed


SETTING_NAMES = tuple(field.name for field in fields(SpeechSettings))
CHECKS: dict[str, Check] = {
    **dict.fromkeys(SETTING_NAMES, flag),
    "sampling_rate": partial(count, allowed=RATES),
    "feature_size": partial(count, allowed=range(1, 1025)),
    "num_mel_bins": partial(count, allowed=range(1, 1025)),
    "hop_length": partial(count, allowed=range(1, 2**16)),
    "n_fft": partial(count, allowed=range(2, 2**16, 2)),
    "chunk_length": partial(count, allowed=range(1, 3601)),
    "padding_value": number,
    # transformers' own normalization is wrong for padding on the left, and no published extractor pads there.
    "padding_side": partial(_only, allowed="right"),
    "dither": partial(_only, allowed=0),  # noise would make results differ from run to run
}
