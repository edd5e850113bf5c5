"""What code reads of a pipeline beside its results: attributes, tokenizer methods, pickles, contexts, copies."""

import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from vitrify import load_bundle, pipeline
from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.verification.verify import verify_bundle

BUNDLES = Path(__file__).parents[2] / "bundles"
TASK, TEXTS = "text-classification", ["the small dog", "a boat"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    target = tmp_path_factory.mktemp("bundles")
    for name in ("encoder", "decoder"):
        with tarfile.open(BUNDLES / f"{name}.tar.gz") as archive:
            archive.extractall(target, filter="data")
    return target


@pytest.fixture(scope="module")
def pipe(folders):
    return pipeline(TASK, folders / "encoder")


def test_attributes_of_transformers(pipe):
    assert (pipe.device, pipe.device.type, pipe.device.index, pipe.dtype) == ("cpu", "cpu", None, "float32")
    assert (pipe.model.device, pipe.model.dtype) == ("cpu", "float32")
    assert pipe.model.config.id2label == pipe.config["id2label"]
    assert pipe.model.config.model_type == "bert"
    assert pipe.model.config.to_dict() == pipe.config
    assert pipe.feature_extractor is None
    assert pipe.image_processor is None
    with pytest.raises(AttributeError, match="the config has no 'd_model'"):
        _ = pipe.model.config.d_model


def test_the_model_is_the_graph_still(pipe):
    ids = pipe.tokenizer(TEXTS[0])
    assert pipe.model(**ids).logits.shape == (1, len(pipe.config.id2label))
    assert pipe.model.input_names == tuple(ids)


def test_generation_settings_and_generate(folders):
    pipe = pipeline("text-generation", folders / "decoder")
    assert pipe.model.generation_config.eos_token_id == pipe.bundle.generation_config["eos_token_id"]
    assert pipe.model.generate([[40, 41]], max_new_tokens=2).shape == (1, 4)


def test_names_of_scikit_learn(pipe):
    assert pipe.predict(TEXTS) == pipe.transform(TEXTS) == pipe(TEXTS)


def test_each_says_what_it_is(pipe):
    assert (
        repr(pipe.bundle)
        == "LoadedBundle('encoder', profile='cpu-fp32', tasks='text-classification, zero-shot-classification')"
    )
    assert repr(pipe.model).startswith("PipelineModel(input_ids: int64[batch, sequence], ")
    assert repr(pipe.model).endswith("-> logits: float32[batch, 3])")
    assert repr(pipe.tokenizer).startswith(f"Tokenizer(vocab_size={pipe.tokenizer.vocab_size}, model_max_length=")


def test_a_context_closes_and_a_later_call_opens_again(folders):
    with pipeline(TASK, folders / "encoder") as pipe:
        expected = pipe(TEXTS)
        assert pipe.bundle._graphs
    assert not pipe.bundle._graphs
    assert pipe(TEXTS) == expected
    with load_bundle(folders / "encoder") as bundle:
        bundle.open()
    assert not bundle._graphs


def test_a_pickle_is_opened_again_in_another_process(folders):
    pipe = pipeline(TASK, folders / "encoder", profile="cpu-int8", top_k=2, batch_size=3, threads=1)
    pipe.tokenizer.pad_token = "[UNK]"
    again = pickle.loads(pickle.dumps(pipe))
    assert (again.profile, again.batch_size, again.bundle.threads) == ("cpu-int8", 3, 1)
    assert again.tokenizer.pad_token == "[UNK]"
    assert again(TEXTS) == pipe(TEXTS)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)(['the small dog', 'a boat']))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(pipe), capture_output=True, check=True)
    assert done.stdout.decode().strip() == str(pipe(TEXTS))


def test_other_processors_are_pickled_too(folders):
    pipe = pipeline(TASK, folders / "encoder", tokenizer=folders / "decoder")
    again = pickle.loads(pickle.dumps(pipe))
    assert again.tokenizer.vocab_size == pipe.tokenizer.vocab_size
    own = pipeline(TASK, folders / "encoder").tokenizer
    assert pickle.loads(pickle.dumps(own)).encode(TEXTS[0]) == own.encode(TEXTS[0])


def test_a_saved_pipeline_is_a_bundle(pipe, folders, tmp_path):
    (folders / "encoder" / "unlisted").write_text("")
    pipe.save_pretrained(tmp_path / "to" / "copy")
    assert verify_bundle(tmp_path / "to" / "copy").passed
    assert pipeline(model=tmp_path / "to" / "copy")(TEXTS) == pipe(TEXTS)
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"copy"}
    assert not (tmp_path / "to" / "copy" / "unlisted").exists()
    assert (tmp_path / "to" / "copy" / "reports" / "parity.json").is_file()
    with pytest.raises(UsageError, match="exists and is not an empty folder"):
        pipe.save_pretrained(tmp_path / "to" / "copy")


def test_a_changed_bundle_is_not_copied(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text("{}")
    with pytest.raises(IntegrityError, match="was changed since the export"):
        pipeline(TASK, tmp_path / "copy").save_pretrained(tmp_path / "again")
    assert not (tmp_path / "again").exists()
