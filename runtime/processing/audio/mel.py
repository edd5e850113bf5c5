"""Log-mel spectrograms in numpy: Whisper's, and the one of Kaldi that Speech2Text takes; knows no settings file.

Frames are windows into the waveform, transformed some thousands at a time, so that the memory on the way does not grow
with the audio.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from ...errors import UsageError

_FRAMES = 2048
"""Frames that are transformed together: 3 MB of them at 400 samples."""

KALDI_FRAME, KALDI_HOP, _KALDI_FFT = 400, 160, 512
_KALDI_FLOOR = 1.192092955078125e-07
_KALDI_PREEMPHASIS = 0.97
_KALDI_LOWEST = 20.0
_WHISPER_HIGHEST = 8000.0
_WHISPER_FLOOR = 1e-10
_WHISPER_RANGE = 8.0


def whisper_log_mel(waveform: np.ndarray, *, bands: int, n_fft: int, hop_length: int, sampling_rate: int) -> np.ndarray:
    """Return Whisper's log-mel spectrogram, float32 [bands, len(waveform) // hop_length].

    The power spectrum of Hann windows centred on every hop (ends mirrored) in Slaney's mel bands, as log10, floored at
    8 below its maximum, then shifted and scaled by 4 (Radford et al. 2022, openai/whisper `log_mel_spectrogram`).
    Equal to transformers' WhisperFeatureExtractor within 1e-4.
    """
    filters = _slaney_filters(bands, n_fft, sampling_rate)
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(np.asarray(waveform, np.float32), n_fft // 2, mode="reflect")
    frames = _framed(padded, n_fft, hop_length)[: len(waveform) // hop_length]

    def log_mel(block: np.ndarray) -> np.ndarray:
        spectrum = np.fft.rfft(block * window)
        power = spectrum.real**2 + spectrum.imag**2
        return np.log10(np.maximum(filters @ power.T, _WHISPER_FLOOR))

    spectrogram = _in_blocks(frames, log_mel, bands)
    np.maximum(spectrogram, spectrogram.max(initial=-np.inf) - _WHISPER_RANGE, out=spectrogram)
    spectrogram += 4
    spectrogram /= 4
    return spectrogram


def kaldi_log_mel(waveform: np.ndarray, *, bands: int, sampling_rate: int) -> np.ndarray:
    """Return Kaldi's log-mel filter bank, float32 [frames, bands], of 400 samples every 160 without padding.

    Samples count as 16-bit integers; each frame loses its mean, is pre-emphasized by 0.97 and gets Povey's window.
    Equal to the numpy path of transformers' Speech2TextFeatureExtractor within 1e-4.
    Raises UsageError for a waveform shorter than one frame.
    """
    if len(waveform) < KALDI_FRAME:
        raise UsageError(f"audio of {len(waveform)} samples is too short (this model needs at least {KALDI_FRAME})")
    filters = _kaldi_filters(bands, sampling_rate)
    window = np.hanning(KALDI_FRAME) ** 0.85
    frames = _framed(np.asarray(waveform, np.float32), KALDI_FRAME, KALDI_HOP)

    def log_mel(block: np.ndarray) -> np.ndarray:
        # Pre-emphasis takes differences of neighbours, which float32 would lose in low bands.
        scaled = block.astype(np.float64) * 2**15
        scaled -= scaled.mean(axis=1, keepdims=True)
        previous = np.concatenate([scaled[:, :1], scaled[:, :-1]], axis=1)
        spectrum = np.fft.rfft((scaled - _KALDI_PREEMPHASIS * previous) * window, _KALDI_FFT)
        # Rounded as transformers does, because normalizing steady bands enlarges the last bits.
        power = np.abs(spectrum.astype(np.complex64), dtype=np.float64) ** 2
        return np.log(np.maximum(filters @ power.T, _KALDI_FLOOR))

    return _in_blocks(frames, log_mel, bands).T  # each band contiguous, so that its mean is summed exactly


def normalized_per_band(features: np.ndarray, *, means: bool, variances: bool) -> np.ndarray:
    """Return features [frames, bands] with mean 0 and variance 1 over the frames of each band, float32.

    A band that is constant to the last bits, as in silence, is not scaled: transformers divides by 0, or enlarges
    rounding errors.
    """
    mean = features.mean(axis=0)
    if means:
        features = features - mean
    if variances:
        spread = features.std(axis=0)
        is_constant = spread <= 4 * np.finfo(np.float32).eps * np.abs(mean)
        features = features / np.where(is_constant, 1, spread)
    return features.astype(np.float32)


def _framed(waveform: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Return a view [frames, length] of the waveform."""
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop]


def _in_blocks(frames: np.ndarray, log_mel: Callable[[np.ndarray], np.ndarray], bands: int) -> np.ndarray:
    spectrogram = np.empty((bands, len(frames)), np.float32)
    for start in range(0, len(frames), _FRAMES):
        spectrogram[:, start : start + _FRAMES] = log_mel(frames[start : start + _FRAMES])
    return spectrogram


@lru_cache(maxsize=8)
def _slaney_filters(bands: int, n_fft: int, sampling_rate: int) -> np.ndarray:
    """Return Slaney's triangular filters of equal area, float32 [bands, n_fft // 2 + 1], from 0 to 8000 Hz."""
    edges = _slaney_hertz(np.linspace(0, _slaney_mel(_WHISPER_HIGHEST), bands + 2))
    filters = _triangles(edges, np.linspace(0, sampling_rate // 2, n_fft // 2 + 1))
    filters *= (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters.astype(np.float32)


@lru_cache(maxsize=8)
def _kaldi_filters(bands: int, sampling_rate: int) -> np.ndarray:
    """Return Kaldi's filters, triangular in mel, float64 [bands, 257]."""
    lowest, highest = _kaldi_mel(np.array([_KALDI_LOWEST, sampling_rate // 2]))
    bins = np.arange(_KALDI_FFT // 2 + 1) * sampling_rate / _KALDI_FFT
    return _triangles(np.linspace(lowest, highest, bands + 2), _kaldi_mel(bins))


def _triangles(edges: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return [bands, points]: the triangle over each three neighbouring edges, of height 1, at the points."""
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (points - left) / (centre - left), (right - points) / (right - centre)
    return np.maximum(np.minimum(rising, falling), 0)


def _kaldi_mel(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log(1 + hertz / 700)


def _slaney_mel(hertz: float) -> float:
    """Return Slaney's mel of a frequency from 1000 Hz on, where the scale is logarithmic."""
    return 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def _slaney_hertz(mel: np.ndarray) -> np.ndarray:
    """Return the frequencies of Slaney's mels: linear below 15, where 1000 Hz is, logarithmic above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
