"""Log-mel spectrograms beside transformers': Whisper's to 1e-4 on both of its paths, Kaldi's to the bit."""

import tracemalloc

import numpy as np
import pytest
from transformers import Speech2TextFeatureExtractor, WhisperFeatureExtractor

from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.audio.mel import kaldi_log_mel, normalized_per_band, whisper_log_mel

RATE = 16_000
TOLERANCE = 1e-4
TIME = np.arange(5 * RATE) / RATE
NOISE = np.random.default_rng(0).standard_normal(len(TIME))
SOUNDS = {
    "noise": NOISE / 10,
    "faint noise": NOISE * 1e-5,
    "clipped noise": np.clip(NOISE, -1, 1),
    "sine": np.sin(2 * np.pi * 440 * TIME),
    "chirp": 0.5 * np.sin(2 * np.pi * (100 + 600 * TIME) * TIME),
    "click": np.eye(1, len(TIME), 20_000)[0],
    "silence": np.zeros(len(TIME)),
    "offset": np.full(len(TIME), 0.5),
}
SOUNDS = {name: samples.astype(np.float32) for name, samples in SOUNDS.items()}


def whisper(samples, **options):
    return whisper_log_mel(samples, **{"bands": 80, "n_fft": 400, "hop_length": 160, "sampling_rate": RATE, **options})


@pytest.mark.parametrize("samples", SOUNDS.values(), ids=SOUNDS)
@pytest.mark.parametrize("bands", [80, 128])
def test_whispers_spectrogram_is_transformers(samples, bands):
    extractor = WhisperFeatureExtractor(feature_size=bands)
    found = whisper(samples, bands=bands)
    assert found.shape == (bands, len(samples) // 160)
    assert found.dtype == np.float32
    for path in (extractor._np_extract_fbank_features, extractor._torch_extract_fbank_features):
        np.testing.assert_allclose(found, path(samples[None], "cpu")[0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("length", [160, 201, 320, 399, 400, 401, 16_001, 79_999])
def test_whispers_lengths(length):
    expected = WhisperFeatureExtractor()._np_extract_fbank_features(SOUNDS["noise"][None, :length], "cpu")[0]
    np.testing.assert_allclose(whisper(SOUNDS["noise"][:length]), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (256, 100), (320, 160)])
def test_whispers_other_sizes(n_fft, hop):
    extractor = WhisperFeatureExtractor(n_fft=n_fft, hop_length=hop, feature_size=40)
    expected = extractor._np_extract_fbank_features(SOUNDS["chirp"][None], "cpu")[0]
    found = whisper(SOUNDS["chirp"], n_fft=n_fft, hop_length=hop, bands=40)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


def test_the_floor_is_of_the_whole_not_of_a_block():
    loud_at_the_end = np.concatenate([SOUNDS["faint noise"]] * 6 + [SOUNDS["sine"]])
    expected = WhisperFeatureExtractor()._np_extract_fbank_features(loud_at_the_end[None], "cpu")[0]
    assert len(expected[0]) > 3000
    np.testing.assert_allclose(whisper(loud_at_the_end), expected, atol=TOLERANCE, rtol=0)


def test_memory_on_the_way_does_not_grow_with_the_audio():
    ten_minutes = np.resize(SOUNDS["noise"], 600 * RATE)
    whisper(SOUNDS["noise"])  # makes the filters
    tracemalloc.start()
    try:
        spectrogram = whisper(ten_minutes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < spectrogram.nbytes + ten_minutes.nbytes + 24 * 2**20


@pytest.mark.parametrize("samples", SOUNDS.values(), ids=SOUNDS)
@pytest.mark.parametrize("bands", [40, 80])
def test_kaldis_spectrogram_is_transformers(samples, bands):
    extractor = Speech2TextFeatureExtractor(num_mel_bins=bands)
    found = kaldi_log_mel(samples, bands=bands, sampling_rate=RATE)
    assert found.shape == (1 + (len(samples) - 400) // 160, bands)
    np.testing.assert_allclose(found, extractor._extract_fbank_features(samples), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("length", [400, 559, 560, 79_999])
def test_kaldis_lengths(length):
    samples = SOUNDS["noise"][:length]
    expected = Speech2TextFeatureExtractor()._extract_fbank_features(samples)
    np.testing.assert_allclose(kaldi_log_mel(samples, bands=80, sampling_rate=RATE), expected, atol=1e-6, rtol=1e-6)


def test_a_sound_shorter_than_a_frame_is_refused():
    with pytest.raises(UsageError, match=r"399 samples is too short \(this model needs at least 400"):
        kaldi_log_mel(SOUNDS["noise"][:399], bands=80, sampling_rate=RATE)


@pytest.mark.parametrize("name", ["noise", "faint noise", "sine", "chirp", "click"])
@pytest.mark.parametrize(("means", "variances"), [(True, True), (True, False), (False, True), (False, False)])
def test_normalized_bands_are_transformers(name, means, variances):
    features = kaldi_log_mel(SOUNDS[name], bands=80, sampling_rate=RATE)
    expected = Speech2TextFeatureExtractor.utterance_cmvn(features, len(features), means, variances)
    found = normalized_per_band(features, means=means, variances=variances)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("length", [400, 16_000, 48_000, 80_000])
def test_bands_of_silence_are_zero_where_transformers_divides_by_zero(length):
    features = kaldi_log_mel(SOUNDS["silence"][:length], bands=80, sampling_rate=RATE)
    np.testing.assert_allclose(normalized_per_band(features, means=True, variances=True), 0, atol=1e-4)
