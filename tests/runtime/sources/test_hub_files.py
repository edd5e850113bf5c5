"""What of a repository is downloaded: all that a checkpoint needs, by whatever name, and nothing else."""

import json
from pathlib import Path

import pytest

from tests.hub_clients import client_of
from tests.hub_server import Repository, serving

WEIGHTS = {"model.safetensors": b"weights"}
INDEX = "model.safetensors.index.json"
DOCUMENTS = ("LICENSE", "Notice.txt", "README.md", "USE_POLICY.md")
BALLAST = (
    *(
        "more/README.md",
        "CHANGES.md",
        "license.json",
        "figure.png",
        "tf_model.h5",
        "flax_model.msgpack",
        "rust_model.ot",
        "model.gguf",
    ),
    *("pytorch_model.bin", "pytorch_model.fp16.bin", "model.fp16.safetensors", "training_args.bin", "optimizer.pt"),
    *("onnx/model.onnx", "openvino/openvino_model.xml", "original/consolidated.00.pth"),
    *("runs/june/events.out.tfevents.1", "checkpoint-500/trainer.json", "checkpoint-500/model.safetensors"),
)
# The files of tokenizers whose class names them.
TOKENIZERS = {
    "marian": ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"),
    "camembert": ("sentencepiece.bpe.model",),
    "t5": ("spiece.model",),
    "phobert": ("vocab.txt", "bpe.codes"),
    "gpt2": ("vocab.json", "merges.txt"),
    "mistral": ("tekken.json", "chat_template.jinja", "additional_chat_templates/tools.jinja"),
    "qwen": ("qwen.tiktoken",),
    "bartpho": ("sentencepiece.bpe.model", "dict.txt"),
    "instructblip": ("processor_config.json", "qformer_tokenizer/vocab.txt", "chat_template.json"),
    "sentences": ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"),
}


def index_of(shards):
    return json.dumps({"metadata": {}, "weight_map": {f"layer.{name}": name for name in shards}}).encode()


def files_in(found):
    assert "error" not in found, found
    folder = Path(found["folder"])
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def repository(*names, **more):
    return Repository(
        {"config.json": b"{}", **{name: name.encode() for name in (*DOCUMENTS, *BALLAST, *names)}, **more}
    )


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_what_a_tokenizers_class_names_is_downloaded_and_no_ballast(tmp_path, kind):
    with serving({"owner/tiny": repository(*TOKENIZERS[kind], **WEIGHTS)}) as hub:
        found = client_of(hub.url, tmp_path).resolve("owner/tiny")
        assert files_in(found) == sorted([*TOKENIZERS[kind], *DOCUMENTS, "config.json", "model.safetensors"])
        assert len(hub.downloads) == len(TOKENIZERS[kind]) + len(DOCUMENTS) + 2


def test_an_index_says_which_shards_there_are(tmp_path):
    shards = ["part_a.safetensors", "weights/b-of-many.safetensors"]
    spare = "model-00001-of-00002.safetensors"  # of an older commit
    with serving({"owner/tiny": repository(*shards, spare, **{INDEX: index_of(shards)})}) as hub:
        client = client_of(hub.url, tmp_path)
        found = client.resolve("owner/tiny")
        assert files_in(found) == sorted([*shards, *DOCUMENTS, "config.json", INDEX])
        for name in DOCUMENTS:  # of what transformers downloaded, there are none
            next(tmp_path.glob(f"hf/hub/*/snapshots/*/{name}")).unlink()
        assert client.resolve("owner/tiny", offline=True) == found
        next(tmp_path.glob("hf/hub/*/snapshots/*/weights/b-of-many.safetensors")).unlink()
        refused = client.resolve("owner/tiny", offline=True)
        assert refused["error"] == "EnvironmentMissing"
        assert "weights/b-of-many.safetensors" in refused["said"]


@pytest.mark.parametrize(
    ("shard", "said"),
    [("absent.safetensors", "missing"), ("../x.safetensors", "do not trust it"), ("pickle.bin", "do not trust it")],
)
def test_an_index_that_is_wrong_is_refused_before_weights_travel(tmp_path, shard, said):
    shards = ["part_a.safetensors", shard]
    repositories = {"owner/tiny": repository("part_a.safetensors", "pickle.bin", **{INDEX: index_of(shards)})}
    with serving(repositories) as hub:
        refused = client_of(hub.url, tmp_path).resolve("owner/tiny")
        assert refused["error"] == "IntegrityError"
        assert said in refused["said"]
        assert not hub.downloaded("part_a.safetensors")


def test_the_config_may_name_the_weights(tmp_path):
    config = {"config.json": b'{"transformers_weights": "tuned/mine.safetensors"}'}
    with serving({"owner/tiny": repository("tuned/mine.safetensors", **WEIGHTS, **config)}) as hub:
        found = client_of(hub.url, tmp_path).resolve("owner/tiny")
        assert files_in(found) == sorted([*DOCUMENTS, "config.json", "tuned/mine.safetensors"])


def test_pickled_shards_are_those_of_their_index(tmp_path):
    index = "pytorch_model.bin.index.json"
    files = repository("a.bin", "b.bin", **{index: index_of(["a.bin"])}).files
    del files["pytorch_model.bin"]
    with serving({"owner/tiny": Repository(files)}) as hub:
        found = client_of(hub.url, tmp_path).resolve("owner/tiny", allow_pickle=True)
        assert files_in(found) == sorted([*DOCUMENTS, "a.bin", "config.json", index])


def test_code_in_subfolders_comes_with_trust_only(tmp_path):
    code = ["modeling_mine.py", "layers/attention.py"]
    with serving({"owner/tiny": repository(*code, **WEIGHTS)}) as hub:
        client = client_of(hub.url, tmp_path)
        assert files_in(client.resolve("owner/tiny")) == sorted([*DOCUMENTS, "config.json", "model.safetensors"])
        assert client.resolve("owner/tiny", trust_remote_code=True, offline=True)["error"] == "EnvironmentMissing"
        found = client.resolve("owner/tiny", trust_remote_code=True)
        assert files_in(found) == sorted([*code, *DOCUMENTS, "config.json", "model.safetensors"])


def test_graphs_of_others_bring_their_templates_and_not_the_weights(tmp_path):
    names = ("tokenizer.json", "chat_template.jinja", "additional_chat_templates/tools.jinja")
    files = repository(*names).files
    del files["pytorch_model.bin"]
    with serving({"owner/tiny": Repository(files)}) as hub:
        found = client_of(hub.url, tmp_path).resolve("owner/tiny", graphs=True)
        there = [name for name in files_in(found) if not name.startswith(".cache")]
        assert there == sorted([*names, "config.json", "onnx/model.onnx"])
