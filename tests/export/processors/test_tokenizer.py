"""Tokenizers of every model type become a `tokenizer.json` that is verified equal, or are refused by name."""

import json
import shutil

import pytest
import transformers
from tokenizers import normalizers
from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

from tests.checkpoints import POSITIONS, TOKENIZERS, TYPES
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.export.processors.corpus import TEXTS, texts_with
from vitrify.export.processors.tokenizer import first_difference, has_backend, load_tokenizer, write_tokenizer
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.processing.text.tokenizer import Tokenizer

TEXT_TYPES = tuple(name for name, row in TYPES.items() if row.tokenizer)
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "##s", "a", "##b", "b", ".", ",", "é", "東")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    return folder


def save(name, folder, **config):
    """Write the files of a checkpoint's tokenizer."""
    tiny_tokenizer(TOKENIZERS[name], model_max_length=POSITIONS).save_pretrained(folder)
    if config:
        (folder / "config.json").write_text(json.dumps(config))


def python_bert(folder, cls=BertTokenizerLegacy):
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    return cls(str(folder / "vocab.txt"))


def test_the_named_types_are_all_here():
    encoders = (
        "bert distilbert roberta xlm-roberta camembert albert electra mpnet deberta-v2 modernbert nomic_bert bart"
    )
    decoders = "gpt2 gpt_neox llama mistral gemma gemma2 phi qwen2 qwen3"
    assert {*encoders.split(), *decoders.split()} <= set(TEXT_TYPES)


@pytest.mark.parametrize("model_type", TEXT_TYPES)
def test_every_type_end_to_end(model_type, source, bundle):
    save(TYPES[model_type].tokenizer, source, model_type=model_type)
    theirs = load_tokenizer(source)
    assert has_backend(theirs)
    write_tokenizer(theirs, bundle)
    ours = Tokenizer.from_folder(bundle)
    assert first_difference(theirs, ours) is None
    assert ours.model_max_length == POSITIONS

    shutil.copyfile(source / "config.json", bundle / "config.json")
    again = transformers.AutoTokenizer.from_pretrained(bundle)
    assert first_difference(again, ours) is None
    assert again.all_special_ids == ours.all_special_ids
    assert tuple(again.model_input_names) == ours.model_input_names


def test_the_same_tokenizer_gives_the_same_bytes_and_names_no_machine(source, bundle, tmp_path):
    save("modernbert", source)
    first = load_tokenizer(source)
    write_tokenizer(first, bundle)
    used, other = load_tokenizer(source), tmp_path / "other"
    used(["a", "a b c d e f"], padding="max_length", truncation=True, max_length=5)
    other.mkdir()
    write_tokenizer(used, other)
    names = sorted(path.name for path in bundle.iterdir())
    assert names == ["tokenizer.json", "tokenizer_config.json"]
    for name in names:
        data = (bundle / name).read_bytes()
        assert data == (other / name).read_bytes()
        assert str(tmp_path).encode() not in data
    config = json.loads((bundle / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"name_or_path", "is_local", "local_files_only", "max_length"} & set(config)


def test_what_transformers_holds_is_written_not_the_file(source, bundle):
    save("bert", source)
    path = source / "tokenizer.json"
    edited = json.loads(path.read_text())
    edited["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(edited))
    theirs = load_tokenizer(source)
    write_tokenizer(theirs, bundle)
    held = json.loads(theirs.backend_tokenizer.to_str())["normalizer"]
    assert json.loads((bundle / "tokenizer.json").read_text())["normalizer"] == held


def test_what_the_user_set_is_kept(source, bundle):
    save("llama", source)
    theirs = load_tokenizer(source)
    theirs.padding_side, theirs.truncation_side, theirs.pad_token = "left", "left", theirs.eos_token
    theirs.add_tokens(["brandnew"])
    theirs.add_special_tokens({"extra_special_tokens": ["<extra>"]})
    theirs.chat_template = "{{ messages }}"
    write_tokenizer(theirs, bundle)
    ours = Tokenizer.from_folder(bundle)
    assert (ours.padding_side, ours.truncation_side, ours.pad_token_id) == ("left", "left", theirs.eos_token_id)
    assert ours.convert_tokens_to_ids("brandnew") == theirs.convert_tokens_to_ids("brandnew")
    assert ours.all_special_ids == theirs.all_special_ids
    assert (bundle / "chat_template.jinja").read_text() == "{{ messages }}"


def test_special_tokens_in_text_may_be_split(source, bundle):
    save("bert", source)
    theirs = load_tokenizer(source)
    theirs.split_special_tokens = True
    write_tokenizer(theirs, bundle)
    ours = Tokenizer.from_folder(bundle)
    assert (
        ours.encode("[MASK]") == theirs.encode("[MASK]") != [ours.cls_token_id, ours.mask_token_id, ours.sep_token_id]
    )


class Own(transformers.BertTokenizer):
    """A class of the checkpoint's own, which nobody who loads the bundle has."""


def test_a_class_of_the_checkpoint_is_not_needed_to_load_the_bundle(source, bundle):
    save("bert", source)
    theirs = Own.from_pretrained(source)
    theirs._auto_map = {"AutoTokenizer": ["own.Own", None]}
    write_tokenizer(theirs, bundle)
    assert "wn.Own" not in (bundle / "tokenizer_config.json").read_text()
    assert first_difference(transformers.AutoTokenizer.from_pretrained(bundle), Tokenizer.from_folder(bundle)) is None


def test_a_tokenizer_in_python_is_converted(source, bundle):
    theirs = python_bert(source)
    assert not has_backend(theirs)
    write_tokenizer(theirs, bundle)
    ours = Tokenizer.from_folder(bundle)
    assert first_difference(theirs, ours) is None
    assert (ours.mask_token_id, ours.all_special_ids) == (theirs.mask_token_id, theirs.all_special_ids)
    assert first_difference(transformers.AutoTokenizer.from_pretrained(bundle), ours) is None


class Reversing(BertTokenizerLegacy):
    """A tokenizer with a twist that no converter knows."""

    def _tokenize(self, text, **options):
        return super()._tokenize(text, **options)[::-1] if "." in text else super()._tokenize(text, **options)


def test_one_that_a_converter_gets_wrong_is_refused_with_the_text(source, bundle):
    theirs = python_bert(source, Reversing)
    with pytest.raises(UnsupportedError, match=r"Reversing.*input_ids differ on the text 'A plain") as caught:
        write_tokenizer(theirs, bundle)
    assert "\n" not in str(caught.value)
    assert not list(bundle.iterdir())


@pytest.mark.parametrize("cls", ["ByT5Tokenizer", "CanineTokenizer"])
def test_one_without_a_converter_is_refused_by_name(cls, bundle):
    with pytest.raises(UnsupportedError, match=cls):
        write_tokenizer(getattr(transformers, cls)(), bundle)
    assert not list(bundle.iterdir())


def test_one_that_takes_no_plain_text_is_refused_by_name(bundle):
    boxes = transformers.LayoutLMv2Tokenizer(vocab={token: index for index, token in enumerate(VOCABULARY)})
    with pytest.raises(UnsupportedError, match="LayoutLMv2Tokenizer"):
        write_tokenizer(boxes, bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: setattr(backend, "normalizer", normalizers.NFC()),
        lambda backend: setattr(backend, "decoder", None),
        lambda backend: backend.add_special_tokens(["."]),
        lambda backend: backend.add_tokens(["🎉"]),
    ],
)
def test_the_proof_sees_a_changed_tokenizer(change, source, bundle):
    save("bert", source)
    theirs = load_tokenizer(source)
    write_tokenizer(theirs, bundle)
    ours = Tokenizer.from_folder(bundle)
    change(ours.backend)
    assert first_difference(theirs, ours) is not None


def test_the_corpus_covers_what_it_promises():
    text = "".join(TEXTS)
    assert "" in TEXTS
    assert {
        "👩",
        "\u0301",
        "\u200d",
        "ש",
        "م",
        "你",
        "か",
        "안",
        "\x00",
        "\x1b",
        "\u200f",
        "\ufeff",
        "\t",
        "\r",
    } <= set(text)
    assert max(map(len, TEXTS)) > 2000
    assert "before[X]after" in texts_with(["[X]"])


def test_a_folder_without_a_tokenizer_gives_none(source):
    (source / "config.json").write_text('{"model_type": "vit"}')
    assert load_tokenizer(source) is None


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_truncated_file_is_an_integrity_error(name, source):
    save("bert", source)
    data = (source / name).read_bytes()
    (source / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError, match=name):
        load_tokenizer(source)


def test_malformed_but_json_is_an_integrity_error(source):
    save("gpt2", source)
    (source / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        load_tokenizer(source)


def test_remote_code_must_be_trusted(source):
    save("bert", source)
    (source / "own.py").write_text("from transformers import BertTokenizer\nclass Own(BertTokenizer):\n    pass\n")
    path = source / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    path.write_text(json.dumps(config))
    (source / "config.json").write_text('{"model_type": "unheard-of"}')
    with pytest.raises(UsageError, match="--trust-remote-code"):
        load_tokenizer(source)


def test_a_folder_that_transformers_cannot_read_is_refused(source):
    (source / "vocab.txt").write_text("a\nb")
    with pytest.raises(UnsupportedError, match="cannot load"):
        load_tokenizer(source)
