"""Graphs that others compiled: every layout runs and answers as PyTorch does, and what cannot run says why."""

import dataclasses
import json
import logging
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnxruntime.quantization import quantize_dynamic

from tests import onnx_folders as make
from tests.checkpoints import make_checkpoint
from tests.conftest import run_vitrify
from tests.hub_server import Repository, serving
from tests.onnx_folders import HALF, NEAR, edited, refused
from vitrify import load_bundle, pipeline
from vitrify.runtime.bundle.manifest import MANIFEST, Bundle, write_manifest
from vitrify.runtime.bundle.reading import read_bundle
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.graphs.files import files_beside
from vitrify.runtime.graphs.header import read_header
from vitrify.runtime.sources.request import Source
from vitrify.runtime.sources.resolve import runs_as_it_is
from vitrify.runtime.verification.verify import verify_bundle

TEXTS = ["the cat ran", "a dog and a bird saw the house", "sea"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A checkpoint, its PyTorch model, and a folder with its graph in float32, int8 and half precision."""
    place = tmp_path_factory.mktemp("classifier")
    checkpoint = make_checkpoint("bert", "sequence-classification", place / "bert")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype="float32")
    graphs = make.settings_of(checkpoint, place / "foreign") / "onnx"
    make.export_classifier(model, graphs / "model.onnx")
    quantize_dynamic(graphs / "model.onnx", graphs / "model_quantized.onnx")
    onnx.save(make.in_half(onnx.load(graphs / "model.onnx")), graphs / "model_fp16.onnx")
    return checkpoint, model, place / "foreign"


@pytest.fixture
def folder(classifier, tmp_path):
    """A copy to break, with `model.onnx` alone."""
    copied = shutil.copytree(classifier[2], tmp_path / "foreign")
    for name in ("model_quantized.onnx", "model_fp16.onnx"):
        (copied / "onnx" / name).unlink()
    return copied


def expected(checkpoint, model):
    """Return PyTorch's probabilities of every text, [texts, labels]."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        return np.stack([model(**tokenizer(text, return_tensors="pt")).logits.softmax(-1)[0].numpy() for text in TEXTS])


def scores(pipe):
    labels = pipe.config["id2label"]
    found = [{row["label"]: row["score"] for row in rows} for rows in pipe(TEXTS, top_k=None, batch_size=2)]
    return np.array([[row[labels[index]] for index in range(len(labels))] for row in found])


# ------------------------------------------------------------------------------------------------------------ encoders


@pytest.mark.parametrize(("profile", "off"), [(None, NEAR), ("fp32", NEAR), ("fp16", HALF), ("quantized", 0.2)])
def test_every_precision_answers_as_the_checkpoint(classifier, profile, off):
    checkpoint, model, folder = classifier
    pipe = pipeline("text-classification", str(folder), profile=profile)
    assert pipe.profile == (profile or "fp32")
    found, right = scores(pipe), expected(checkpoint, model)
    assert np.abs(found - right).max() < off
    assert np.ptp(right, axis=0).max() > 10 * NEAR, "texts that all score alike show nothing"


@pytest.mark.parametrize(
    ("options", "profile"),
    [
        ({"dtype": "float32"}, "fp32"),
        ({"dtype": "float16"}, "fp16"),
        ({"dtype": "int8"}, "quantized"),
        ({"device": "cpu"}, "fp32"),
        ({"device": "cpu", "dtype": "float16"}, "fp16"),
    ],
)
def test_a_dtype_finds_the_precision(classifier, options, profile):
    assert pipeline("text-classification", str(classifier[2]), **options).profile == profile


@pytest.mark.parametrize("options", [{"dtype": "bfloat16"}, {"device": "cuda"}])
def test_a_precision_that_is_not_there_is_refused(classifier, options):
    with pytest.raises(UsageError, match="which is an ONNX folder"):
        pipeline("text-classification", str(classifier[2]), **options)


def test_files_at_the_top_and_axes_of_any_name(classifier, folder):
    shutil.move(folder / "onnx" / "model.onnx", folder)
    (folder / "onnx").rmdir()

    def rename(model):
        for number, value in enumerate((*model.graph.input, *model.graph.output)):
            value.type.tensor_type.shape.dim[0].dim_param = f"rows{number}"
        del model.graph.input[1].type.tensor_type.shape.dim[1:]
        model.graph.input[1].type.tensor_type.shape.dim.add()  # an axis without a name

    edited(folder / "model.onnx", rename)
    bundle = load_bundle(folder)
    assert [tensor.axes for tensor in bundle.bundle.graphs["model"].inputs] == [("batch", "sequence")] * 3
    assert bundle.model.session.outputs[0].axes == ("batch", 3)
    assert np.abs(scores(pipeline("text-classification", bundle)) - expected(*classifier[:2])).max() < NEAR


def test_weights_beside_the_graph(classifier, folder):
    path = folder / "onnx" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    assert files_beside(path) == ("model.onnx_data",)
    assert np.abs(scores(pipeline("text-classification", str(folder))) - expected(*classifier[:2])).max() < NEAR
    document = json.loads(run_vitrify("info", folder, "--json").out)
    assert set(document["profiles"]["fp32"]["files"]) == {"onnx/model.onnx", "onnx/model.onnx_data"}
    path.with_name("model.onnx_data").unlink()
    refused(IntegrityError, folder, "model.onnx_data", "missing")


def test_weights_with_a_second_name_elsewhere_are_not_read(folder, tmp_path):
    path = folder / "onnx" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    path.with_name("model.onnx_data").rename(tmp_path / "elsewhere")
    os.link(tmp_path / "elsewhere", path.with_name("model.onnx_data"))
    refused(IntegrityError, folder, "model.onnx_data", "second name elsewhere", "cp -rL")


def test_the_command_line_and_the_log_say_that_nothing_proves_it(classifier, caplog):
    folder = classifier[2]
    with caplog.at_level(logging.WARNING, logger="vitrify"):
        load_bundle(folder, profile="quantized")
    assert "was not verified" in caplog.text
    assert "quantized" in caplog.text
    caplog.clear()
    assert load_bundle(folder, profile="auto").profile.name == "fp32"
    assert "was not verified" in caplog.text
    done = run_vitrify("info", folder)
    assert done.code == 0
    assert done.out.count("third-party, not verified") == 3
    assert done.out.count("verified") == 3
    document = json.loads(run_vitrify("info", folder, "--json").out)
    assert document["foreign"]
    assert {name: row["verified"] for name, row in document["profiles"].items()} == dict.fromkeys(
        ("fp32", "fp16", "quantized"), False
    )
    ran = run_vitrify("run", "text-classification", TEXTS[0], "-m", folder, "-p", "fp16", "--json")
    assert ran.document["profile"] == "fp16"


def test_verify_has_nothing_to_go_by(classifier):
    with pytest.raises(UsageError, match=r"ONNX folder.*vitrify export"):
        verify_bundle(classifier[2])
    done = run_vitrify("verify", classifier[2])
    assert done.code == UsageError.exit_code
    assert done.err.count("\n") == 1


def test_the_graph_outweighs_the_class(folder):
    """A class with a head may have been exported without it."""

    def headless(model):
        states = next(node.output[0] for node in reversed(model.graph.node) if node.op_type == "LayerNormalization")
        model.graph.node.add(op_type="Identity", input=[states], output=["last_hidden_state"])
        del model.graph.output[:]
        sizes = ["batch_size", "sequence_length", 32]
        model.graph.output.append(onnx.helper.make_tensor_value_info("last_hidden_state", 1, sizes))

    edited(folder / "onnx" / "model.onnx", headless)
    bundle = load_bundle(folder)
    assert bundle.bundle.tasks == ("feature-extraction",)
    short, _ = pipeline("feature-extraction", bundle)(TEXTS[:2], batch_size=2)
    assert len(short[0]) == len(bundle.tokenizer(TEXTS[0])["input_ids"][0]), "padding is cut off"


# ----------------------------------------------------------------------------------------------------------- bad input


def test_several_precisions_and_no_word_which(classifier, tmp_path):
    folder = shutil.copytree(classifier[2], tmp_path / "foreign")
    (folder / "onnx" / "model.onnx").unlink()
    refused(UsageError, folder, "fp16, quantized", "profile=")
    refused(UsageError, classifier[2], "cpu-int8", "fp32, fp16, quantized", profile="cpu-int8")
    assert load_bundle(folder, profile="fp16").profile.name == "fp16"


def _config(**changes):
    def change(folder):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _replace(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _cut(folder):
    path = folder / "onnx" / "model.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def _link(folder):
    path = folder / "onnx" / "model.onnx"
    path.rename(folder / "model.bin")
    path.symlink_to(folder / "model.bin")


def _outside(folder):
    path = folder / "onnx" / "model.onnx"
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    path.write_bytes(path.read_bytes().replace(b"model.onnx_data", b"../../../../etc"))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (_remove("config.json"), UsageError, ("no config.json",)),
        (_replace("config.json", b"{"), IntegrityError, ("config.json", "not JSON")),
        (_replace("config.json", b"[]"), IntegrityError, ("not a JSON object",)),
        (_config(architectures=None), UsageError, ("no architecture", "ForSequenceClassification")),
        (_config(architectures=["BertForNextSentence"]), UnsupportedError, ("BertForNextSentence", "ForMaskedLM")),
        (_config(architectures=["BertForQuestionAnswering"]), UnsupportedError, ("start_logits", "vitrify export")),
        (_config(architectures=["BartForConditionalGeneration"]), UnsupportedError, ("encoder_model", "model.onnx")),
        (_config(architectures=["GPT2LMHeadModel"]), UnsupportedError, ("token_type_ids", "vitrify export")),
        (_remove("tokenizer.json"), UsageError, ("tokenizer.json", "AutoTokenizer")),
        (_replace("onnx/model.onnx", b""), IntegrityError, ("not an ONNX graph",)),
        (_replace("onnx/model.onnx", b"not a graph at all" * 9), IntegrityError, ("not an ONNX graph",)),
        (_replace("onnx/model.onnx", b"version https://git-lfs.github.com/spec/v1\n"), IntegrityError, ("lfs pull",)),
        (_cut, IntegrityError, ("model.onnx",)),
        (_link, IntegrityError, ("is a link", "cp -rL")),
        (_remove("onnx/model.onnx"), UsageError, ("no bundle", "vitrify export")),
        (_outside, IntegrityError, ("not next to it",)),
    ],
)
def test_what_cannot_run_says_why(folder, change, error, words):
    change(folder)
    refused(error, folder, *words)


def test_a_manifest_cannot_call_itself_foreign(folder):
    found = load_bundle(folder).bundle
    fields = {item.name: getattr(found, item.name) for item in dataclasses.fields(Bundle)}
    write_manifest(Bundle(**fields), folder)
    assert read_bundle(folder).is_verified
    path = folder / MANIFEST
    for claim in ({"is_verified": False}, {"row": {}, "config": {}}):
        whole = path.read_text()
        path.write_text(json.dumps({**json.loads(whole), **claim}))
        refused(IntegrityError, folder, "broken")
        path.write_text(whole)
    (folder / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match="sha256"):
        _ = load_bundle(folder).config


def test_a_header_of_any_bytes_is_refused_or_read(folder):
    """No byte that is changed makes the reader hang or raise anything of its own."""
    path, rng = folder / "onnx" / "model.onnx", np.random.default_rng(0)
    whole = path.read_bytes()
    for at in rng.integers(0, len(whole), 60):
        path.write_bytes(whole[:at] + struct.pack("B", rng.integers(256)) + whole[at + 1 :])
        try:
            read_header(path)
        except (IntegrityError, UnsupportedError) as error:
            assert "\n" not in str(error)  # noqa: PT017 - either is right
    path.write_bytes(whole)
    assert len(read_header(path).inputs) == 3


# ------------------------------------------------------------------------------------------- beside a checkpoint; Hub


def test_a_checkpoint_is_compiled_unless_a_variant_is_named(classifier, tmp_path, caplog):
    checkpoint, _, foreign = classifier
    both = shutil.copytree(foreign, tmp_path / "both")
    shutil.copy(checkpoint / "model.safetensors", both)
    assert pipeline("text-classification", str(both), profile="fp16").bundle.bundle.is_verified is False
    with caplog.at_level(logging.INFO, logger="vitrify"):
        assert not runs_as_it_is(Source(both, "both"), None)
    assert "'both' contains ONNX graphs too: profile=fp32" in caplog.text
    assert runs_as_it_is(Source(both, "both"), "quantized")
    assert runs_as_it_is(Source(foreign, "foreign"), None)


def served(folder, **more):
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    large = frozenset(name for name in files if name.endswith((".onnx", "_data")))
    return Repository({**files, **more, "README.md": b"# theirs"}, large)


def test_a_repository_of_others_runs_and_brings_one_precision(classifier, tmp_path):
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VITRIFY_"))}
    with serving({"xenova/tiny": served(classifier[2])}) as hub:
        env = {**keep, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "VITRIFY_CACHE": str(tmp_path / "own")}
        env |= {"HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost"}

        def run(*words, **more):
            return run_vitrify(
                "run", "text-classification", TEXTS[0], "-m", "xenova/tiny", "--json", *words, env=env | more
            )

        first = run("-p", "quantized")
        assert first.document["profile"] == "quantized", first.err
        assert "was not verified" in first.err
        assert not hub.downloaded("onnx/model.onnx")
        assert not hub.downloaded("README.md")
        offline = run("-p", "quantized", HF_HUB_OFFLINE="1")
        assert offline.document == first.document
        plain = run(HF_HUB_OFFLINE="1")
        assert plain.document["exit_code"] == 8, "what is in the cache is not taken for what was asked for"
        assert "onnx/model.onnx" in plain.document["error"]
        wrong = run("-p", "int8")
        assert wrong.code == UsageError.exit_code
        assert "fp32, fp16, quantized" in wrong.document["error"]
        assert run().document["profile"] == "fp32"


def test_foreign_bundles_compare_by_their_own_digests(classifier, folder):
    ours, theirs = load_bundle(classifier[2]).bundle, load_bundle(folder).bundle
    assert ours.files["config.json"] == theirs.files["config.json"]
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    assert ours.files["tokenizer.json"] != theirs.files["tokenizer.json"]
    assert ours.digest != theirs.digest
    assert "nowhere.json" not in ours.files
    assert not dataclasses.replace(theirs, head="base").is_verified
    assert Path("config.json") not in ours.files
