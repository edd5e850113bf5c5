"""Which files make up a checkpoint: what is wanted, what is ballast, and whose changes make another bundle."""

import json
import os
import time

import pytest

import vitrify.runtime.bundle.checkpoint_files as rules
from vitrify.runtime.bundle.checkpoint_files import (
    Listing,
    checkpoint_files,
    documents_of,
    pickled_shards,
    settings_of,
    weights_of,
)
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.sources.compile_once import compiled_bundle
from vitrify.runtime.sources.request import Source

SINGLE, INDEX, PICKLES = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin.index.json"
# What a tokenizer's class, a processor or a checkpoint's own code reads.
SETTINGS = [
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("video_preprocessor_config.json", "adapter.json", "modules.json", "1_Pooling/config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("source.spm", "target.spm", "target_vocab.json", "vocab.json", "vocab.txt", "merges.txt"),
    *("sentencepiece.bpe.model", "spiece.model", "spm_char.model", "bpe.codes", "dict.txt", "vocab.tsv"),
    *("qwen.tiktoken", "tekken.json", "prophetnet.tokenizer", "vocab-src.json", "bpe_simple_vocab_16e6.txt.gz"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/tools.jinja"),
    *("qformer_tokenizer/vocab.txt", "qformer_tokenizer/tokenizer_config.json", "a_vocabulary_of_no_known_name"),
]
CODE = ["modeling_mine.py", "layers/attention.py", "layers/fused/kernel.py"]
BALLAST = [
    *(
        "README.md",
        "LICENSE",
        "LICENSE.txt",
        ".gitattributes",
        ".git/config",
        "USE_POLICY.md",
        "figure.png",
        "sound.wav",
    ),
    *("tf_model.h5", "flax_model.msgpack", "rust_model.ot", "model.gguf", "model.mlmodel", "model.tflite"),
    *("model.onnx", "model.onnx_data", "onnx/model.onnx", "onnx/config.json", "openvino/openvino_model.xml"),
    *("openvino_model.xml", "coreml/text/model.mlpackage/Manifest.json", "original/params.json"),
    *(
        "original/consolidated.00.pth",
        "consolidated.safetensors",
        "pytorch_model.bin",
        PICKLES,
        "tf_model.h5.index.json",
    ),
    *("model.fp16.safetensors", "model.safetensors.index.fp16.json", "model-00001-of-00002.fp16.safetensors"),
    *(
        "training_args.bin",
        "training_args.json",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state_0.pth",
        "trainer_state.json",
    ),
    *("events.out.tfevents.1", "runs/june/events.out.tfevents.1", "runs/june/args.json", "all_results.json"),
    *("checkpoint-500/config.json", "checkpoint-500/model.safetensors", "datasets/train.txt", "train.parquet"),
    *("unet/diffusion_pytorch_model.safetensors", "a/b/c/d/deep.json", "__pycache__/modeling_mine.pyc"),
]


def listing(*names, sizes=None, contents=None, folder=None):
    """Stand for a repository: `contents` are its files that can be opened."""
    sizes = dict.fromkeys(names, 10) | (sizes or {})
    for name, text in (contents or {}).items():
        (folder / name).write_text(text)
        sizes[name] = len(text)
    return Listing("owner/tiny", sizes, sizes.__contains__, lambda name: folder / name)


def index_of(*shards):
    return json.dumps({"metadata": {}, "weight_map": {f"layer.{number}": name for number, name in enumerate(shards)}})


def write(folder, names, content="x"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


# ------------------------------------------------------------------------------------------------------------ settings


def test_everything_counts_but_ballast():
    there = listing(*SETTINGS, *CODE, *BALLAST, SINGLE)
    assert settings_of(there, code=False) == sorted(SETTINGS)
    assert settings_of(there, code=True) == sorted([*SETTINGS, *CODE])


def test_a_folder_lists_as_its_repository_does(tmp_path):
    names = [*SETTINGS, *CODE, *BALLAST, SINGLE, *(f"texts/{number}.txt" for number in range(300))]
    write(tmp_path, [name for name in names if name != PICKLES])
    expected = sorted([*settings_of(listing(*names), code=True), SINGLE])
    assert list(checkpoint_files(tmp_path)) == expected
    assert all(path == tmp_path / name for name, path in checkpoint_files(tmp_path).items())
    assert expected == sorted([*SETTINGS, *CODE, SINGLE])


def test_documents_are_apart_from_what_is_compiled():
    documents = ["COPYING", "LICENCE.md", "LICENSE", "Llama3.1_LICENSE", "NOTICE.txt", "README.md", "USE_POLICY.md"]
    others = ["more/LICENSE", "docs/README.md", "license.json", "licenses.py", "README.txt", "config.json"]
    there = listing(*documents, *others, sizes={"LICENSE-all.txt": 2**30})
    assert documents_of(there) == sorted(documents)
    assert settings_of(listing(*documents, "config.json"), code=True) == ["config.json"]


def test_datasets_are_not_settings():
    data = [*(f"texts/{number}.txt" for number in range(300)), *(f"code/more/{number}.txt" for number in range(300))]
    there = listing("config.json", *data, sizes={"train.txt": 2**30, "tokenizer.json": 40 * 2**20})
    assert settings_of(there, code=True) == ["config.json", "tokenizer.json"]


@pytest.mark.parametrize("sign", ["bundle.json", "trainer_state.json", "optimizer.pt"])
def test_what_a_run_left_in_the_folder_is_not_settings(sign):
    there = listing("config.json", "epoch_3/config.json", "epoch_3/more/vocab.txt", f"epoch_3/{sign}")
    assert settings_of(there, code=True) == ["config.json"]


def test_a_folder_of_links_fifos_and_huge_files_is_listed_at_once(tmp_path):
    write(tmp_path, ["config.json", SINGLE, "a/b/deep.json", "shared/vocab.txt"])
    for name in ("here", "a/back", "a/b/back"):
        (tmp_path / name).symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "system").symlink_to("/", target_is_directory=True)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "broken.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "shared", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.json")
    with (tmp_path / "train.txt").open("wb") as file:
        file.truncate(2**40)
    before = time.monotonic()
    found = checkpoint_files(tmp_path)
    assert time.monotonic() - before < 5
    assert {"config.json", SINGLE, "a/b/deep.json", "shared/vocab.txt", "linked/vocab.txt"} <= set(found)
    assert not {"train.txt", "pipe.json", "broken.json", "circle"} & set(found)
    assert len(found) < 50


# ------------------------------------------------------------------------------------------------------------- weights


SHARDS = ("part.safetensors", "weights/b.safetensors")


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        ((SINGLE, "model.fp16.safetensors", "pytorch_model.bin"), (SINGLE,)),
        ((SINGLE, INDEX, *SHARDS), (SINGLE,)),
        ((INDEX, *SHARDS, "other.safetensors"), (INDEX, *SHARDS)),
        ((INDEX, *SHARDS, "pytorch_model.bin"), (INDEX, *SHARDS)),
    ],
)
def test_the_weights_are_those_that_transformers_loads(tmp_path, names, chosen):
    (tmp_path / INDEX).write_text(index_of(*SHARDS, SHARDS[0]))
    assert weights_of(listing(*names, folder=tmp_path)).names == chosen


def test_the_config_may_name_the_weights(tmp_path):
    config = {"config.json": '{"transformers_weights": "tuned/mine.safetensors"}'}
    there = listing(SINGLE, "tuned/mine.safetensors", contents=config, folder=tmp_path)
    assert weights_of(there).names == ("tuned/mine.safetensors",)
    for outside in ("../mine.safetensors", "/mine.safetensors", "mine.bin", 3):
        config = {"config.json": json.dumps({"transformers_weights": outside})}
        with pytest.raises(IntegrityError, match="do not trust it"):
            weights_of(listing(SINGLE, str(outside), contents=config, folder=tmp_path))


def test_pickles_count_when_they_are_allowed(tmp_path):
    contents = {PICKLES: index_of("b.pt", "a.bin")}
    there = listing("a.bin", "b.pt", "model.fp16.safetensors", contents=contents, folder=tmp_path)
    with pytest.raises(UnsupportedError, match="--allow-pickle"):
        weights_of(there)
    weights = weights_of(there, allow_pickle=True)
    assert weights.pickled
    assert weights.names == (PICKLES, "a.bin", "b.pt")
    assert weights.shards == ("a.bin", "b.pt")
    write(tmp_path, ["a.bin", "b.pt"])
    assert pickled_shards(tmp_path) == [tmp_path / "a.bin", tmp_path / "b.pt"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (index_of("../outside.safetensors"), "do not trust it"),
        (index_of("/etc/outside.safetensors"), "do not trust it"),
        (index_of("a\\b.safetensors"), "do not trust it"),
        (index_of("pickle.bin"), "do not trust it"),
        (index_of("x" * 300 + ".safetensors"), "which is missing"),
        (index_of("absent.safetensors"), "'absent.safetensors', which is missing"),
        ("{}", "is not an index"),
        ('{"weight_map": {}}', "is not an index"),
        ('{"weight_map": {"a": 3}}', "do not trust it"),
        ("[]", "is not an index"),
        ("{", "is not an index"),
    ],
)
def test_an_index_that_is_wrong_is_refused(tmp_path, content, said):
    (tmp_path / "pickle.bin").write_text("x")
    outside = ("../outside.safetensors", "/etc/outside.safetensors")
    there = listing("pickle.bin", *outside, contents={INDEX: content}, folder=tmp_path)
    for choose in (lambda: weights_of(there), lambda: checkpoint_files(tmp_path)):
        with pytest.raises(IntegrityError, match=said) as caught:
            choose()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("tf_model.h5", UnsupportedError, "TensorFlow"),
        ("flax_model.msgpack", UnsupportedError, "Flax"),
        ("model.q4.gguf", UnsupportedError, "GGUF"),
        ("consolidated.00.pth", UnsupportedError, "pickled"),
        ("adapter_config.json", UnsupportedError, "PEFT"),
        ("model.fp16.safetensors", UsageError, "no configuration says to load model.fp16.safetensors"),
        ("training_args.bin", UsageError, "not a checkpoint"),
        ("optimizer.pt", UsageError, "not a checkpoint"),
    ],
)
def test_other_weights_are_named(name, error, said):
    with pytest.raises(error, match=said):
        weights_of(listing("vocab.txt", name), allow_pickle=True)


# ------------------------------------------------------------------------------------------------ compile on first use


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    write(folder, [*SETTINGS, *CODE, *(name for name in BALLAST if name != PICKLES)])
    write(folder, [INDEX], index_of("part_a.safetensors", "weights/b.safetensors"))
    write(folder, ["part_a.safetensors", "weights/b.safetensors"])
    return folder


def bundle_of(folder, **options):
    def run(command):
        out = next(word.removeprefix("--output=") for word in command if word.startswith("--output="))
        os.mkdir(out)  # noqa: PTH102 - a name is all that is known
        write(folder.parent, [f"{out}/bundle.json"])
        return 0, ""

    return compiled_bundle(Source(folder, "tiny"), task=None, profile="cpu-fp32", run=run, **options)


def test_every_file_that_is_read_is_in_the_key(folder):
    seen = [bundle_of(folder)]
    for name in [*SETTINGS, *CODE, "part_a.safetensors", "weights/b.safetensors"]:
        (folder / name).write_text("another")
        seen.append(bundle_of(folder))
        (folder / name).write_text("x")
        assert seen[-1] not in seen[:-1], name
    (folder / INDEX).write_text(index_of("part_a.safetensors"))
    assert bundle_of(folder) not in seen


def test_ballast_is_not_in_the_key(folder):
    first = bundle_of(folder)
    for name in [name for name in BALLAST if name != PICKLES]:
        (folder / name).write_text("another")
    assert bundle_of(folder) == first


def test_pickled_shards_are_in_the_key(folder):
    (folder / INDEX).unlink()
    (folder / "pytorch_model.bin").unlink()
    write(folder, [PICKLES], index_of("a.bin"))
    write(folder, ["a.bin"])
    first = bundle_of(folder, allow_pickle=True)
    (folder / "a.bin").write_text("another")
    assert bundle_of(folder, allow_pickle=True) != first


def test_a_missing_shard_is_said_before_anything_is_compiled(folder):
    (folder / "weights" / "b.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"weights/b\.safetensors"):
        bundle_of(folder)


def test_what_a_listing_leaves_out_is_still_a_shard(tmp_path):
    """Where an index leads the bounds of a listing do not hold."""
    name = "original/a/b/c/d/x.safetensors"
    write(tmp_path, ["config.json", name])
    write(tmp_path, [INDEX], index_of(name))
    assert name not in rules.Listing.from_folder(tmp_path).sizes
    assert set(checkpoint_files(tmp_path)) == {"config.json", INDEX, name}


MODULES = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Asym", "type": "sentence_transformers.models.Asym"},
    ],
    "2_Asym/config.json": {
        "types": {"query_0_Dense": "sentence_transformers.models.Dense"},
        "structure": {"query": ["query_0_Dense"], "document": []},
    },
    "0_Transformer/config.json": {},
}


def modules_in(folder, *weights):
    for name, content in MODULES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    for name in weights:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"weights")
    return Listing.from_folder(folder)


def test_each_module_has_weights_in_its_own_folder(tmp_path):
    names = ("0_Transformer/model.safetensors", "2_Asym/query_0_Dense/model.safetensors")
    listing = modules_in(tmp_path, *names, "2_Asym/query_0_Dense/pytorch_model.bin", "model.safetensors")
    assert weights_of(listing).names == names
    assert set(names) < set(checkpoint_files(tmp_path))


def test_a_module_with_a_pickle_alone_is_refused(tmp_path):
    listing = modules_in(tmp_path, "0_Transformer/model.safetensors", "2_Asym/query_0_Dense/pytorch_model.bin")
    with pytest.raises(UnsupportedError, match=r"2_Asym/query_0_Dense/pytorch_model\.bin"):
        weights_of(listing)
    assert weights_of(listing, allow_pickle=True).pickled


def test_modules_without_a_transformers_weights_are_no_checkpoint(tmp_path):
    with pytest.raises(UsageError, match=r"contains no model\.safetensors"):
        weights_of(modules_in(tmp_path, "2_Asym/query_0_Dense/model.safetensors"))


@pytest.mark.parametrize("content", ["{}", '[{"type": 1, "path": ""}]', '[{"type": "a", "path": "/etc"}]', "[1]"])
def test_a_broken_list_of_modules_is_reported(tmp_path, content):
    (tmp_path / "modules.json").write_text(content)
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    if content == "{}":
        assert weights_of(Listing.from_folder(tmp_path)).names == ("model.safetensors",)
        return
    with pytest.raises(IntegrityError, match=r"modules\.json"):
        weights_of(Listing.from_folder(tmp_path))
