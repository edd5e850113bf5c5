"""`pipeline()` on a bundle: which of its profiles the arguments ask for, and what may stand in for its processors."""

import json
import shutil

import pytest

from vitrify import load_bundle, pipeline
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.errors import UsageError
from vitrify.runtime.loading import LoadedBundle
from vitrify.runtime.processing.audio.features import SpeechProcessor

TASK = "feature-extraction"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dtype": "float32"},
        {"torch_dtype": "fp32"},
        {"device": "cpu"},
        {"device": -1, "dtype": "float32"},
        {"device_map": "auto"},
        {"profile": "cpu-fp32", "dtype": "float32", "device": "cpu"},
    ],
)
def test_the_profile_that_fits_runs(exported, options):
    assert pipeline(TASK, str(exported.bundle), **options).profile == "cpu-fp32"
    assert pipeline(TASK, load_bundle(exported.bundle), **options).profile == "cpu-fp32"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, r"no profile 'cuda-fp16' in bundle 'bundle' \(built: cpu-fp32\)"),
        ({"device": "cuda", "dtype": "bfloat16"}, "no profile 'cuda-bf16' in bundle"),
        ({"device": 0, "dtype": "float32"}, "no profile runs float32 on device 'cuda'"),
        ({"dtype": "bfloat16"}, "no profile 'cpu-bf16' in bundle"),
        ({"device": "mps"}, r"^device 'mps' is not supported \(supported: cpu, cuda\)$"),
        ({"profile": "cpu-fp32", "dtype": "int8"}, "'cpu-fp32' runs float32 on device 'cpu', and int8 is asked for"),
    ],
)
def test_what_the_bundle_does_not_have_is_refused(exported, options, said):
    with pytest.raises(UsageError, match=said):
        pipeline(TASK, str(exported.bundle), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dtype": "bfloat16"}, "'cpu-fp32', which does not run bfloat16: load it again"),
        ({"device": "cuda"}, "'cpu-fp32', which does not run on device 'cuda': load it again"),
        ({"profile": "cpu-int8"}, "'cpu-fp32', not 'cpu-int8': load it again"),
    ],
)
def test_a_loaded_bundle_keeps_its_profile(exported, options, said):
    with pytest.raises(UsageError, match=said):
        pipeline(TASK, load_bundle(exported.bundle), **options)


def test_a_feature_extractor_is_for_speech(exported):
    with pytest.raises(UsageError, match="feature_extractor is for speech, which bundle 'bundle' does not read"):
        pipeline(TASK, str(exported.bundle), feature_extractor="somewhere")


def test_a_feature_extractor_may_be_a_folder_or_an_object(exported, tmp_path):
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000, "do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    folder = shutil.copytree(exported.bundle, tmp_path / "bundle")
    manifest = (folder / "bundle.json").read_text().replace('"input_ids"', '"input_values"')
    (folder / "bundle.json").write_text(manifest)
    loaded = LoadedBundle(Bundle.read(folder))
    assert loaded.speech_processor is None
    changed = loaded.with_processors(feature_extractor=tmp_path)
    assert isinstance(changed.speech_processor, SpeechProcessor)
    assert changed.speech_processor.sampling_rate == 8000
    assert loaded.with_processors(feature_extractor=changed.speech_processor).speech_processor.sampling_rate == 8000
    assert loaded.speech_processor is None
