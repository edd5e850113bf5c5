"""Speech in: what transformers' feature extractors compute, in numpy, from a saved preprocessor_config.json.

Knows feature extractors by class name, as rows of a table, and no model type.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import IntegrityError, UsageError
from ...numerics import Arrays
from ..class_defaults import feature_extractor_class, feature_extractor_defaults, model_config
from ..preprocessor_config import CONFIG_NAME, checked, known_class, read_config
from .mel import kaldi_log_mel, normalized_per_band, whisper_log_mel
from .settings import CHECKS, SpeechSettings

PADDING = {False: None, "do_not_pad": None, True: "longest", "longest": "longest", "max_length": "max_length"}


@dataclass(frozen=True)
class Options:
    """One call's options, resolved: `padding` is None, "longest" or "max_length"; `mask` says whether one is wanted."""

    padding: str | None
    truncation: bool
    max_length: int | None
    multiple: int | None
    mask: bool
    normalize: bool

    def rounded(self, length: int) -> int:
        """Return the next length that `pad_to_multiple_of` allows."""
        return -(-length // (self.multiple or 1)) * (self.multiple or 1)


def _waveforms(settings: SpeechSettings, rows: list[np.ndarray], options: Options) -> Arrays:
    """Wav2Vec2's and Moonshine's: the samples themselves."""
    values, lengths = _padded(rows, options, settings.padding_value)
    if options.normalize:
        # As trained: without a mask, padding counts among the samples.
        known = lengths if options.padding is not None and options.mask else [values.shape[1]] * len(rows)
        values = _normalized(values, known, settings.padding_value)
    return {"input_values": values, **_mask(lengths, values.shape[1], options)}


def _whisper(settings: SpeechSettings, rows: list[np.ndarray], options: Options) -> Arrays:
    """Whisper's: log-mel bands of padded samples; the mask is of frames."""
    values, lengths = _padded(rows, options, settings.padding_value)
    if options.normalize:
        values = _normalized(values, lengths, settings.padding_value)
    hop = settings.hop_length
    features = [
        whisper_log_mel(
            row,
            bands=settings.feature_size,
            n_fft=settings.n_fft,
            hop_length=hop,
            sampling_rate=settings.sampling_rate,
        )
        for row in values
    ]
    frames = values.shape[1] // hop
    if not frames:
        raise UsageError(f"audio of {values.shape[1]} samples is too short (this model needs at least {hop})")
    starts = [-(-length // hop) for length in lengths]  # a frame counts if its first sample does
    return {"input_features": np.stack(features), **_mask(starts, frames, options)}


def _kaldi(settings: SpeechSettings, rows: list[np.ndarray], options: Options) -> Arrays:
    """Speech2Text's: log-mel bands, normalized over each utterance, then padded."""
    features = [kaldi_log_mel(row, bands=settings.num_mel_bins, sampling_rate=settings.sampling_rate) for row in rows]
    if settings.do_ceptral_normalize:
        means, variances = settings.normalize_means, settings.normalize_vars
        if options.truncation and options.max_length is not None:
            features = [item[: options.rounded(options.max_length)] for item in features]
        features = [normalized_per_band(item, means=means, variances=variances) for item in features]
    values, lengths = _padded(features, options, settings.padding_value)
    return {"input_features": values, **_mask(lengths, values.shape[1], options)}


@dataclass(frozen=True)
class Extractor:
    """One class: how it makes arrays, and its defaults of a call."""

    arrays: Callable[[SpeechSettings, list[np.ndarray], Options], Arrays]
    always_masks: bool = False
    pads_to_chunk: bool = False
    normalizes: bool = False


EXTRACTORS: dict[str, Extractor] = {
    "Speech2TextFeatureExtractor": Extractor(_kaldi, always_masks=True),
    "Wav2Vec2FeatureExtractor": Extractor(_waveforms, normalizes=True),
    "WhisperFeatureExtractor": Extractor(_whisper, pads_to_chunk=True),
}


@dataclass(frozen=True)
class SpeechProcessor:
    """One saved feature extractor; call it on samples to get the graph's inputs."""

    name: str
    settings: SpeechSettings

    @classmethod
    def from_folder(cls, folder: Path) -> "SpeechProcessor":
        """Read preprocessor_config.json; what it leaves out is as transformers' class has it.

        Raises IntegrityError where it is broken, UnsupportedError for its class.
        """
        config = read_config(folder, of="audio", part="feature_extractor")
        found = feature_extractor_class(config, model_config(folder))
        name = known_class(found, EXTRACTORS, what="feature extractor")
        try:
            settings = SpeechSettings(**checked({**feature_extractor_defaults(name), **config}, CHECKS))
        except UsageError as error:
            raise IntegrityError(f"{folder / CONFIG_NAME}: {error}") from error
        return cls(name=name, settings=settings)

    @property
    def sampling_rate(self) -> int:
        """The sampling rate, in Hz, that audio must have."""
        return self.settings.sampling_rate

    def __call__(
        self,
        audio: np.ndarray | Sequence[np.ndarray],
        *,
        padding: bool | str | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        do_normalize: bool | None = None,
    ) -> Arrays:
        """Return arrays by name of one waveform, float [samples] at `sampling_rate`, or of a sequence of them.

        "input_values" is float32 [batch, samples]; "input_features" is float32 [batch, bands, frames] for Whisper and
        [batch, frames, bands] for Speech2Text; "attention_mask", where it is wanted, int64 [batch, samples or frames].
        Options mean what they mean in transformers: lengths are in samples, for Speech2Text in frames, and Whisper
        pads and cuts to its chunk by default. Raises UsageError for what is no waveform, or rows of several lengths
        without padding.
        """
        extractor, settings = EXTRACTORS[self.name], self.settings
        if extractor.pads_to_chunk:
            padding = "max_length" if padding is None else padding
            truncation = True if truncation is None else truncation
            max_length = settings.n_samples if max_length is None else max_length
        mask = settings.return_attention_mask or extractor.always_masks
        normalize = settings.do_normalize and extractor.normalizes  # Whisper's normalizes only when a call asks for it
        options = Options(
            padding=_chosen_padding(padding),
            truncation=bool(truncation),
            max_length=_length("max_length", max_length),
            multiple=_length("pad_to_multiple_of", pad_to_multiple_of),
            mask=mask if return_attention_mask is None else return_attention_mask,
            normalize=normalize if do_normalize is None else do_normalize,
        )
        if options.max_length is None and (options.truncation or options.padding == "max_length"):
            raise UsageError("truncation=True and padding='max_length' need max_length")
        return extractor.arrays(settings, _listed(audio), options)


def _listed(audio: Any) -> list[np.ndarray]:
    rows = list(audio) if isinstance(audio, list | tuple) or getattr(audio, "ndim", 1) == 2 else [audio]
    if not rows:
        raise UsageError("a feature extractor expects at least one waveform, got none")
    arrays = [np.asarray(row) for row in rows]
    for array in arrays:
        if array.ndim != 1 or array.dtype.kind != "f" or not array.size:
            raise UsageError(
                f"a feature extractor expects waveforms, got {array.dtype} {list(array.shape)} "
                "(allowed: floats [samples], at least one)"
            )
    return [array.astype(np.float32, copy=False) for array in arrays]


def _chosen_padding(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, bool | str) or value not in PADDING:
        raise UsageError(f"padding={value!r}; allowed: {', '.join(map(repr, PADDING))}")
    return PADDING[value]


def _length(name: str, value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise UsageError(f"{name}={value!r}; allowed: a whole number from 1 on")
    return value


def _padded(rows: list[np.ndarray], options: Options, value: float) -> tuple[np.ndarray, list[int]]:
    """Return rows [length, ...] as one array [batch, length, ...], padded on the right, and their own lengths."""
    if options.truncation and options.max_length is not None:
        rows = [row[: options.rounded(options.max_length)] for row in rows]
    lengths = [len(row) for row in rows]
    target = max(lengths)
    if options.padding is not None:
        least = options.max_length if options.padding == "max_length" and options.max_length else target
        target = max(target, options.rounded(least))
    elif min(lengths) < target:
        raise UsageError(f"waveforms of lengths {min(lengths)} to {target} do not fit one array: pass padding=True")
    values = np.full((len(rows), target, *rows[0].shape[1:]), value, np.float32)
    for row, given in zip(values, rows, strict=True):
        row[: len(given)] = given
    return values, lengths


def _mask(lengths: Sequence[int], size: int, options: Options) -> Arrays:
    if not options.mask:
        return {}
    return {"attention_mask": (np.arange(size) < np.array(lengths)[:, None]).astype(np.int64)}


def _normalized(values: np.ndarray, lengths: Sequence[int], padding_value: float) -> np.ndarray:
    """Return rows with mean 0 and variance 1 over their own lengths, and padding after them."""
    normalized = np.full_like(values, padding_value)
    for row, given, length in zip(normalized, values, lengths, strict=True):
        samples = given[:length]
        row[:length] = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    return normalized
