"""A checkpoint's feature extractor: loaded or refused, written complete, verified before it is written."""

import json

import numpy as np
import pytest
import transformers

from tests.parity.speech_subjects import ctc_tokenizer
from vitrify.export.processors.speech import load_speech_processor, write_speech_processor
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.audio.features import EXTRACTORS, SpeechProcessor

NAME = "preprocessor_config.json"
SOUND = np.random.default_rng(0).standard_normal(9_000).astype(np.float32)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_what_is_written_loads_back_equal_in_transformers_and_here(tmp_path, name):
    extractor = getattr(transformers, name)()
    write_speech_processor(extractor, tmp_path)
    assert json.loads((tmp_path / NAME).read_text())["feature_extractor_type"] == name
    back = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert type(back) is type(extractor)
    assert back.to_dict() == extractor.to_dict()
    ours = SpeechProcessor.from_folder(tmp_path)(SOUND)
    for key, values in extractor(SOUND, sampling_rate=16_000, return_tensors="np").items():
        np.testing.assert_allclose(ours[key], values, atol=1e-4)


def test_a_whisper_that_asks_for_masks_is_written(tmp_path):
    write_speech_processor(transformers.WhisperFeatureExtractor(return_attention_mask=True), tmp_path)
    assert SpeechProcessor.from_folder(tmp_path)(SOUND)["attention_mask"].shape == (1, 3000)


def write(folder, config, name=NAME):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(config))
    return folder


def test_a_legacy_sparse_configuration_is_written_complete(tmp_path):
    write(tmp_path / "old", {"model_type": "wav2vec2"}, "config.json")
    write(tmp_path / "old", {"do_normalize": False, "processor_class": "Wav2Vec2Processor"})
    write_speech_processor(load_speech_processor(tmp_path / "old"), tmp_path / "new")
    assert json.loads((tmp_path / "new" / NAME).read_text()) == {
        "do_normalize": False,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
    }


def test_an_extractor_saved_inside_a_processor_is_found(tmp_path):
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False)
    transformers.Wav2Vec2Processor(extractor, ctc_tokenizer(tmp_path / "tokenizer")).save_pretrained(tmp_path)
    assert not (tmp_path / NAME).exists()
    assert load_speech_processor(tmp_path).do_normalize is False


def test_the_bytes_depend_on_the_settings_only(tmp_path):
    config = {"feature_extractor_type": "WhisperFeatureExtractor", "mel_filters": [[0.0]], "_name_or_path": "somewhere"}
    config |= {"auto_map": {"AutoFeatureExtractor": "code.Extractor"}, "n_samples": 480000, "nb_max_frames": 3000}
    write_speech_processor(load_speech_processor(write(tmp_path / "a", config)), tmp_path / "b")
    write_speech_processor(load_speech_processor(tmp_path / "b"), tmp_path / "c")
    written = (tmp_path / "b" / NAME).read_bytes()
    assert written == (tmp_path / "c" / NAME).read_bytes()
    assert not {"mel_filters", "_name_or_path", "auto_map"} & set(json.loads(written))


class OtherValues(transformers.Wav2Vec2FeatureExtractor):
    """What a checkpoint's own code may do under a known name."""

    def __call__(self, *args, **options):
        made = super().__call__(*args, **options)
        made["input_values"] = made["input_values"] + np.float32(2e-4)
        return made


class OtherShape(transformers.Wav2Vec2FeatureExtractor):
    def __call__(self, audio, **options):
        return super().__call__([samples[1:] for samples in audio], **options)


class OtherNames(transformers.Wav2Vec2FeatureExtractor):
    def __call__(self, *args, **options):
        return {"input_features": super().__call__(*args, **options)["input_values"]}


class Refusing(transformers.Wav2Vec2FeatureExtractor):
    def __call__(self, *args, **options):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (OtherValues, "differs from transformers' by 0.0002"),
        (OtherShape, "returns input_values"),
        (OtherNames, "returns input_features, the runtime input_values"),
        (Refusing, "samples: no$"),
    ],
)
def test_other_values_under_a_known_name_are_refused_and_nothing_is_written(tmp_path, other, message):
    extractor = type("Wav2Vec2FeatureExtractor", (other,), {})()
    with pytest.raises(UnsupportedError, match=message):
        write_speech_processor(extractor, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_settings_that_the_runtime_does_not_know_are_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"dither is 0\.1"):
        write_speech_processor(transformers.WhisperFeatureExtractor(dither=0.1), tmp_path)


def test_an_unsupported_class_is_refused_by_name(tmp_path):
    with pytest.raises(UnsupportedError, match=r"'SpeechT5FeatureExtractor' is not supported \(supported: Speech2"):
        write_speech_processor(transformers.SpeechT5FeatureExtractor(), tmp_path)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"feature_extractor_type": "FooFeatureExtractor"}, UnsupportedError, "cannot be loaded"),
        ({"auto_map": {"AutoFeatureExtractor": "code.Extractor"}}, UsageError, "--trust-remote-code"),
        ([], IntegrityError, "broken"),
    ],
)
def test_what_transformers_cannot_load_is_one_readable_sentence(tmp_path, config, error, message):
    with pytest.raises(error, match=message) as caught:
        load_speech_processor(write(tmp_path, config))
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_an_extractor(tmp_path):
    with pytest.raises(UsageError, match="has no feature extractor"):
        load_speech_processor(tmp_path)
