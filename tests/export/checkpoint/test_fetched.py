"""Every file that a checkpoint needs reaches the export: from the Hub, in shards, through a conversion of pickles."""

import importlib
import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.checkpoints import make_checkpoint
from tests.hub_clients import client_of
from tests.hub_server import repository_of, serving
from vitrify import export_bundle
from vitrify.export.checkpoint.fetched import fetch
from vitrify.export.processors.tokenizer import VOCABULARIES, load_tokenizer
from vitrify.runtime.bundle.checkpoint_files import Listing, checkpoint_files, settings_of
from vitrify.runtime.bundle.digests import file_digest
from vitrify.runtime.bundle.manifest import Bundle
from vitrify.runtime.publishing.card import card_text
from vitrify.runtime.sources.request import Request

INDEX = "model.safetensors.index.json"


def tokenizer_modules():
    root = Path(transformers.__file__).parent / "models"
    return sorted(f"transformers.models.{path.parent.name}.{path.stem}" for path in root.glob("*/tokenization_*.py"))


def vocabulary_names():
    """Return, by the names of transformers' tokenizer classes, the files that each of them names."""
    found = {}
    for name in tokenizer_modules():
        try:
            module = importlib.import_module(name)
        except (ImportError, NameError):  # of a package that is not installed
            continue
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, transformers.PreTrainedTokenizerBase):
                found[cls.__name__] = {file for file in cls.vocab_files_names.values() if isinstance(file, str)}
    return {name: files for name, files in found.items() if files}


def test_what_any_tokenizer_class_names_is_wanted():
    names = vocabulary_names()
    assert len(names) > 50
    files = sorted(set().union(*names.values()))
    sizes = dict.fromkeys(files, 1)
    assert settings_of(Listing("any", sizes, sizes.__contains__, Path), code=False) == files
    unseen = [name for name, own in names.items() if not any(fnmatchcase(f, p) for f in own for p in VOCABULARIES)]
    assert not unseen, "load_tokenizer would say that there is no tokenizer"


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A Marian whose weights are a pickle: what most translators on the Hub still look like."""
    folder = make_checkpoint("marian", "seq2seq-lm", tmp_path_factory.mktemp("source") / "translator")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


def test_a_pickled_translator_comes_from_its_id_with_its_vocabulary(translator, tmp_path):
    assert not (translator / "tokenizer.json").exists(), "its vocabulary must be the class's own"
    with serving({"owner/translator": repository_of(translator)}) as hub:
        got = client_of(hub.url, tmp_path).resolve("owner/translator", allow_pickle=True)
    found = fetch(Request(got["folder"], allow_pickle=True), tmp_path)
    assert type(load_tokenizer(found.folder)).__name__ == "MarianTokenizer"
    assert (found.folder / "model.safetensors").is_file()
    assert found.source_files() == {name: file_digest(path) for name, path in checkpoint_files(translator).items()}
    assert {"source.spm", "target.spm", "vocab.json", "pytorch_model.bin"} <= found.source_files().keys()


def test_shards_of_any_name_export_and_are_listed(tmp_path):
    folder = make_checkpoint("bert", "base", tmp_path / "tiny")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "weights").mkdir()
    places = {name: ("part_a.safetensors", "weights/b.safetensors")[index % 2] for index, name in enumerate(weights)}
    for shard in set(places.values()):
        save_file({name: weights[name] for name in weights if places[name] == shard}, folder / shard, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    (folder / "unrelated.safetensors").write_bytes(b"not one")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine")
    (folder / "LICENSE.txt").write_bytes(b"MIT, by \xe9")
    report = export_bundle(folder, tmp_path / "out")
    assert report.passed
    listed = report.bundle.source.files
    assert not {"README.md", "LICENSE.txt"} & listed.keys()
    assert {"source/README.md", "LICENSE.txt"} <= report.bundle.files.keys()
    assert "README.md" not in report.bundle.files
    assert (tmp_path / "out" / "LICENSE.txt").read_bytes() == b"MIT, by \xe9"
    assert (tmp_path / "out" / "source" / "README.md").read_text().endswith("# Mine")
    card = (tmp_path / "out" / "README.md").read_text()
    assert card == card_text(Bundle.read(tmp_path / "out"))
    assert "license: mit" in card
    assert str(tmp_path) not in card
    assert {INDEX, "part_a.safetensors", "weights/b.safetensors", "config.json"} <= listed.keys()
    assert "unrelated.safetensors" not in listed
