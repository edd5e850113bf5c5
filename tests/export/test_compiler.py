"""An export as a whole: heads, profiles, model objects, the checkpoint's own code, verify against the checkpoint."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle, load_bundle, pipeline
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.errors import EnvironmentMissing, ParityError, UsageError
from vitrify.runtime.machine import this_machine

ON_OPENVINO = [
    name
    for name in ("cpu-bf16", "cpu-fp32-openvino", "cpu-int8-bf16", "cpu-int8-static")
    if this_machine().has_any(load_profile(name).requires)
]
TEXT = "My name is Sarah and I live in London."


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return make_checkpoint("bert", "sequence-classification", tmp_path_factory.mktemp("classifier") / "checkpoint")


@pytest.fixture(scope="module")
def every_profile(classifier, tmp_path_factory):
    return export_bundle(classifier, tmp_path_factory.mktemp("profiles") / "bundle", profiles=["auto"])


def test_auto_builds_every_profile_that_runs_here_and_each_answers(every_profile):
    expected = {"cpu-fp32", "cpu-int8", *ON_OPENVINO}
    assert set(every_profile.bundle.builds) == expected
    assert every_profile.passed
    scores = {name: _scores(every_profile.folder, name) for name in expected}
    for name in expected:
        assert scores[name] == pytest.approx(scores["cpu-fp32"], abs=0.2)
        assert pipeline("text-classification", every_profile.folder, profile=name).profile == name
    assert scores["cpu-int8"] != scores["cpu-fp32"]


def _scores(folder, profile):
    found = pipeline("text-classification", folder, profile=profile)(TEXT, top_k=None)
    return {item["label"]: item["score"] for item in found}


def test_auto_runs_the_fastest_profile_within_the_drift_and_float32_within_little(every_profile):
    pipe = pipeline("text-classification", every_profile.folder, profile="auto", max_drift=1e-4)
    assert pipe.profile == "cpu-fp32"
    pipe = pipeline("text-classification", every_profile.folder, profile="auto", max_drift=1.0)
    assert pipe.profile in every_profile.bundle.builds


@pytest.mark.slow
def test_auto_leaves_out_what_a_model_cannot_be_and_says_so(tmp_path, vitrify):
    checkpoint = make_checkpoint("resnet", "image-classification", tmp_path / "resnet")
    done = vitrify("export", checkpoint, "-o", tmp_path / "bundle", "--profile", "auto")
    assert done.code == 0, done.err
    assert (
        "cpu-int8: left out: pass quantize_dynamic does not support graph 'model': the graph has no linear layer"
        in done.out
    )
    assert "cpu-int8" not in Bundle.read(tmp_path / "bundle").builds
    static = {"model_int8_static.onnx"} if "cpu-int8-static" in ON_OPENVINO else set()  # convolutions are layers too
    assert {path.name for path in (tmp_path / "bundle" / "onnx").glob("*.onnx")} == {"model.onnx"} | static
    refused = vitrify("export", checkpoint, "-o", tmp_path / "other", "--profile", "auto", "--profile", "cpu-int8")
    assert refused.code == 6
    assert "no linear layer" in refused.err


def test_auto_leaves_out_what_is_not_the_same_model(classifier, tmp_path, monkeypatch):
    def strict(name):
        profile = load_profile(name)
        exact = replace(profile.tolerance, absolute=1e-7, relative=0.0)
        return replace(profile, tolerance=exact) if name == "cpu-int8" else profile

    monkeypatch.setattr("vitrify.export.precision.targets.load_profile", strict)
    report = export_bundle(classifier, tmp_path / "bundle", profiles=["auto"])
    assert report.passed
    assert "cpu-int8" not in report.bundle.builds
    assert "the graph does not match" in report.left_out["cpu-int8"]
    assert list(report.left_out) == ["cpu-int8"]
    assert not (tmp_path / "bundle" / "onnx" / "model_int8.onnx").exists()
    way = "leave out cpu-int8: vitrify export MODEL --profile cpu-fp32"
    with pytest.raises(ParityError, match=f"profile cpu-int8: .* Nothing was written; {way}"):
        export_bundle(classifier, tmp_path / "other", profiles=["cpu-fp32", "cpu-int8"])


def test_bfloat16_shares_the_portable_graph_and_int8_is_a_quarter(every_profile, classifier):
    files = {name: build.graphs["model"] for name, build in every_profile.bundle.builds.items()}
    assert files["cpu-int8"] == "onnx/model_int8.onnx"
    assert {file for name, file in files.items() if "int8" not in name} == {"onnx/model.onnx"}


@pytest.mark.skipif("cpu-bf16" not in ON_OPENVINO, reason="no bfloat16 in this CPU")
@pytest.mark.parametrize("model_type", ["bart", "marian"])
def test_bfloat16_stays_right_where_a_prompt_gets_as_long_as_its_source(model_type, tmp_path):
    checkpoint = make_checkpoint(model_type, "seq2seq-lm", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=["cpu-bf16"])
    assert report.passed
    assert 1e-3 < report.profiles["cpu-bf16"]["drift"] < 0.05


def test_only_the_profile_asked_for_stays(classifier, tmp_path):
    report = export_bundle(classifier, tmp_path / "bundle", profiles=["cpu-int8"])
    assert sorted(path.name for path in (tmp_path / "bundle" / "onnx").glob("*.onnx")) == ["model_int8.onnx"]
    assert list(report.bundle.builds) == ["cpu-int8"]
    with pytest.raises(UsageError, match="built: cpu-int8"):
        load_bundle(tmp_path / "bundle", profile="cpu-fp32")


@pytest.mark.parametrize(
    ("profile", "suffix"), [("cuda-fp16", "_fp16"), pytest.param("cuda-bf16", "_bf16", marks=pytest.mark.slow)]
)
def test_a_gpu_profile_is_proven_in_an_emulation_and_never_runs_on_the_cpu(
    classifier, tmp_path, vitrify, profile, suffix
):
    report = export_bundle(classifier, tmp_path / "bundle", profiles=[profile])
    found, build = report.profiles[profile], report.bundle.builds[profile]
    assert (found["passed"], found["emulated"]) == (True, True)
    assert 1e-5 < found["drift"] < 0.05, "as in float32, or too far off"
    assert (build.verified, build.emulated) == (True, True)
    assert sorted(path.name for path in (tmp_path / "bundle" / "onnx").iterdir()) == [
        f"model{suffix}.onnx",
        f"model{suffix}.onnx_data",
    ]
    with pytest.raises(EnvironmentMissing, match="needs an NVIDIA GPU"):
        pipeline("text-classification", tmp_path / "bundle", profile=profile)(TEXT)
    said = vitrify("info", tmp_path / "bundle")
    assert "verified in an emulation, not on its device" in said.out
    skipped = vitrify("info", tmp_path / "bundle", "--assignments", "--json").document["skipped"]
    assert "needs an NVIDIA GPU" in skipped[profile]
    verified = vitrify("verify", tmp_path / "bundle")
    assert (verified.code, "needs an NVIDIA GPU" in verified.err) == (8, True)


def test_half_precision_that_is_another_model_is_refused(tmp_path):
    checkpoint = make_checkpoint("t5", "seq2seq-lm", tmp_path / "checkpoint")  # its attention has no scale
    with pytest.raises(ParityError, match="profile cuda-bf16: the graph does not match"):
        export_bundle(checkpoint, tmp_path / "bundle", profiles=["cuda-bf16"])
    assert not (tmp_path / "bundle").exists()


def test_an_unknown_profile_names_the_known_ones(classifier, tmp_path):
    with pytest.raises(UsageError, match="cpu-fp32"):
        export_bundle(classifier, tmp_path / "bundle", profiles=["cpu-fp99"])


def test_a_model_object_with_its_tokenizer_gives_the_same_graph(classifier, tmp_path):
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    report = export_bundle(model, tmp_path / "object", tokenizer=tokenizer)
    assert report.bundle.source.id == "BertForSequenceClassification"
    assert _scores(tmp_path / "object", "cpu-fp32")
    with pytest.raises(UsageError, match="tokenizer="):
        export_bundle(model, tmp_path / "without")


def test_another_head_needs_its_weights(classifier, tmp_path):
    with pytest.raises(UsageError, match="does not support task 'fill-mask'"):
        export_bundle(classifier, tmp_path / "bundle", task="fill-mask")
    headless = tmp_path / "headless"
    shutil.copytree(classifier, headless)
    config = json.loads((headless / "config.json").read_text())
    (headless / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    with pytest.raises(UsageError, match="they would be random"):
        export_bundle(headless, tmp_path / "bundle")


def test_the_base_of_a_headed_checkpoint_drops_a_pooler_without_weights(tmp_path):
    checkpoint = make_checkpoint("bert", "masked-lm", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", task="feature-extraction")
    assert [tensor.name for tensor in report.bundle.graphs["model"].outputs] == ["last_hidden_state"]


def test_verify_against_the_checkpoint_and_against_another(classifier, every_profile, tmp_path, vitrify):
    done = vitrify("verify", every_profile.folder, "--against", classifier, "--json")
    assert done.code == 0, done.err
    replayed = vitrify("verify", every_profile.folder, "--json").document["profiles"]["cpu-fp32"]["compared"]
    assert done.document["profiles"]["cpu-fp32"]["compared"] >= replayed
    other = make_checkpoint("bert", "sequence-classification", tmp_path / "other", seed=1)
    done = vitrify("verify", every_profile.folder, "--against", other)
    assert done.code == 4
    assert "profile cpu-fp32: FAIL" in done.err


def test_a_text_longer_than_the_model_is_refused_and_truncated_on_request(every_profile):
    pipe = pipeline("text-classification", every_profile.folder)
    with pytest.raises(UsageError, match="truncation=True"):
        pipe("word " * 500)
    assert pipe("word " * 500, truncation=True)


CODE = """
from transformers import BertModel

class TwiceBertModel(BertModel):
    def forward(self, *args, **kwargs):
        outputs = super().forward(*args, **kwargs)
        outputs.last_hidden_state = 2 * outputs.last_hidden_state
        return outputs
"""


def test_the_checkpoints_own_code_runs_only_when_it_is_trusted(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    plain = make_checkpoint("bert", "base", tmp_path / "plain")
    own = tmp_path / "own"
    shutil.copytree(plain, own)
    (own / "modeling_twice.py").write_text(CODE)
    config = json.loads((own / "config.json").read_text())
    config |= {"architectures": ["TwiceBertModel"], "auto_map": {"AutoModel": "modeling_twice.TwiceBertModel"}}
    (own / "config.json").write_text(json.dumps(config))
    report = export_bundle(own, tmp_path / "bundle", task="feature-extraction", trust_remote_code=True)
    assert report.bundle.source.remote_code
    export_bundle(plain, tmp_path / "once")
    twice, once = (
        pipeline("feature-extraction", tmp_path / name)(TEXT, return_tensors=True) for name in ("bundle", "once")
    )
    np.testing.assert_allclose(twice, 2 * once, atol=1e-4)
    untrusted = export_bundle(own, tmp_path / "untrusted", task="feature-extraction")
    assert not untrusted.bundle.source.remote_code
    np.testing.assert_allclose(
        pipeline("feature-extraction", tmp_path / "untrusted")(TEXT, return_tensors=True), once, atol=1e-4
    )


def test_low_bit_weights_are_for_decoders(tmp_path):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    with pytest.raises(UsageError, match="profile 'cpu-w8' is for decoders, and BertModel is not one: use cpu-fp32"):
        export_bundle(checkpoint, tmp_path / "bundle", profiles=["cpu-fp32", "cpu-w8"])
    assert not (tmp_path / "bundle").exists()
