"""Feature extractors beside transformers': same names, shapes and values, for one waveform and for several."""

import json

import numpy as np
import pytest
import transformers

from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.audio.features import CONFIG_NAME, EXTRACTORS, SpeechProcessor

TOLERANCE = 1e-4
RANDOM = np.random.default_rng(0)
SHORT, LONG = (RANDOM.standard_normal(size).astype(np.float32) / 8 + 0.05 for size in (7_001, 18_000))
MASKED = {"return_attention_mask": True}


def pair(folder, name, **settings):
    """Return (ours, transformers') from one file."""
    theirs = getattr(transformers, name)(**settings)
    theirs.save_pretrained(folder)
    return SpeechProcessor.from_folder(folder), theirs


def assert_same(ours, theirs, audio, **options):
    expected = theirs(audio, sampling_rate=theirs.sampling_rate, return_tensors="np", **options)
    found = ours(audio, **options)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert found[name].dtype == (np.int64 if name == "attention_mask" else np.float32)
        np.testing.assert_allclose(found[name], values, atol=TOLERANCE, rtol=0)
    return found


@pytest.mark.parametrize("normalizes", [True, False])
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("options", [{}, MASKED, {"return_attention_mask": False}], ids=str)
def test_wav2vec2(tmp_path, normalizes, masks, options):
    ours, theirs = pair(
        tmp_path, "Wav2Vec2FeatureExtractor", do_normalize=normalizes, return_attention_mask=masks, padding_value=0.25
    )
    for audio in (SHORT, SHORT.astype(np.float64), [SHORT], [SHORT, SHORT[::-1]]):
        assert_same(ours, theirs, audio, **options)
    for padding in ({"padding": True}, {"padding": "max_length", "max_length": 20_000}):
        assert_same(ours, theirs, [SHORT, LONG], **padding, **options)
    assert_same(ours, theirs, [SHORT, LONG], padding="longest", pad_to_multiple_of=512, **options)
    cut = {"truncation": True, "max_length": 7_500, "padding": True}
    assert_same(ours, theirs, [SHORT, LONG], **cut, **options)
    found = assert_same(ours, theirs, [SHORT, LONG], pad_to_multiple_of=1_000, **cut, **options)
    assert found["input_values"].shape == (2, 8_000)


def test_moonshine_takes_the_samples_as_they_are(tmp_path):
    ours, theirs = pair(tmp_path, "Wav2Vec2FeatureExtractor", do_normalize=False, return_attention_mask=True)
    found = assert_same(ours, theirs, SHORT)
    np.testing.assert_array_equal(found["input_values"], SHORT[None])


@pytest.mark.parametrize("bands", [80, 128])
def test_whisper(tmp_path, bands):
    ours, theirs = pair(tmp_path, "WhisperFeatureExtractor", feature_size=bands, chunk_length=1)
    assert (ours.settings.n_samples, ours.settings.nb_max_frames) == (theirs.n_samples, theirs.nb_max_frames)
    for audio in (SHORT, LONG, [SHORT, LONG]):
        assert assert_same(ours, theirs, audio)["input_features"].shape[1:] == (bands, 100)
        assert_same(ours, theirs, audio, **MASKED)
        assert_same(ours, theirs, audio, do_normalize=True, **MASKED)
    long_form = {"truncation": False, "padding": "longest"}
    for length in (17_900, 18_000):
        assert_same(ours, theirs, LONG[:length], **long_form, **MASKED)
        assert_same(ours, theirs, [SHORT, LONG[:length]], **long_form, **MASKED)
    assert_same(ours, theirs, [SHORT, LONG], max_length=9_000, **MASKED)


def test_whisper_of_30_seconds_has_3000_frames(tmp_path):
    ours, theirs = pair(tmp_path, "WhisperFeatureExtractor")
    assert assert_same(ours, theirs, SHORT)["input_features"].shape == (1, 80, 3000)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"normalize_means": False},
        {"normalize_vars": False},
        {"do_ceptral_normalize": False, "padding_value": 1.5},
        {"num_mel_bins": 40, "feature_size": 40},
    ],
    ids=str,
)
def test_speech2text(tmp_path, settings):
    ours, theirs = pair(tmp_path, "Speech2TextFeatureExtractor", **settings)
    for audio in (SHORT, [SHORT]):
        assert assert_same(ours, theirs, audio)["attention_mask"].all()
    for options in ({"padding": True}, {"padding": "longest", "pad_to_multiple_of": 16}):
        found = assert_same(ours, theirs, [SHORT, LONG], **options)
        assert not found["attention_mask"].all()
    assert_same(ours, theirs, [SHORT, LONG], padding=True, truncation=True, max_length=50)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_silence_gives_finite_numbers(tmp_path, name):
    ours, _ = pair(tmp_path, name)
    assert all(np.isfinite(values).all() for values in ours(np.zeros(16_000, np.float32)).values())


@pytest.mark.parametrize(
    ("audio", "options", "message"),
    [
        ([SHORT, LONG], {}, "lengths 7001 to 18000.*padding=True"),
        ([SHORT, LONG], {"truncation": True}, "need max_length"),
        (SHORT, {"padding": "max_length"}, "need max_length"),
        (SHORT, {"padding": "left"}, "padding='left'; allowed: False"),
        (SHORT, {"max_length": 0}, "max_length=0; allowed"),
        (SHORT, {"pad_to_multiple_of": 1.5}, "pad_to_multiple_of=1.5; allowed"),
        ([], {}, "got none"),
        (SHORT[:0], {}, r"got float32 \[0\]"),
        (np.zeros((1, 2, 3), np.float32), {}, r"got float32 \[1, 2, 3\]"),
        ((SHORT * 2**15).astype(np.int16), {}, "got int16"),
    ],
)
def test_what_cannot_be_one_array_is_refused(tmp_path, audio, options, message):
    ours, _ = pair(tmp_path, "Wav2Vec2FeatureExtractor")
    with pytest.raises(UsageError, match=message):
        ours(audio, **options)


def test_a_sound_shorter_than_a_hop_is_refused(tmp_path):
    ours, _ = pair(tmp_path, "WhisperFeatureExtractor")
    with pytest.raises(UsageError, match="at least 160"):
        ours(SHORT[:100], padding="longest", truncation=False)


def write(folder, config):
    (folder / CONFIG_NAME).write_text(config if isinstance(config, str) else json.dumps(config))


@pytest.mark.parametrize("name", ["ParakeetFeatureExtractor", "EncodecFeatureExtractor"])
def test_an_unsupported_class_is_refused_by_name(tmp_path, name):
    write(tmp_path, {"feature_extractor_type": name})
    with pytest.raises(UnsupportedError, match=rf"'{name}' is not supported \(supported: Speech2Text"):
        SpeechProcessor.from_folder(tmp_path)
    write(tmp_path, {})
    with pytest.raises(UnsupportedError, match=r'add "feature_extractor_type" to preprocessor_config\.json'):
        SpeechProcessor.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling_rate": 0}, "sampling_rate is 0"),
        ({"sampling_rate": 10**400}, "sampling_rate is 1000"),
        ({"hop_length": -1}, "hop_length is -1"),
        ({"n_fft": 401}, "n_fft is 401"),
        ({"chunk_length": 1e9}, "chunk_length is 1000000000"),
        ({"feature_size": "80"}, "feature_size is '80'"),
        ({"padding_value": float("nan")}, "padding_value is nan"),
        ({"padding_side": "left"}, "padding_side is 'left'"),
        ({"do_normalize": "yes"}, "do_normalize is 'yes'"),
        ({"dither": 0.1}, "dither is 0.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, message):
    write(tmp_path, {"feature_extractor_type": "WhisperFeatureExtractor", **settings})
    with pytest.raises(IntegrityError, match=message):
        SpeechProcessor.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [("{", "not JSON"), ("[]", "not a JSON object"), (None, "no preprocessor_config")]
)
def test_a_file_that_is_none(tmp_path, content, message):
    if content is not None:
        write(tmp_path, content)
    with pytest.raises(IntegrityError, match=message):
        SpeechProcessor.from_folder(tmp_path)
