"""A config.json that transformers does not read, or that its weights do not fit, is refused by field and value."""

import json

import pytest

from tests.checkpoints import make_checkpoint
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.runtime.errors import VitrifyError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint("bert", "base", tmp_path_factory.mktemp("odd") / "checkpoint")


@pytest.fixture
def config(checkpoint):
    path = checkpoint / "config.json"
    text = path.read_text()
    yield path
    path.write_text(text)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hidden_size", "", "hidden_size is ''"),
        ("id2label", 5, "id2label is 5"),
        ("id2label", {"x": "y"}, "id2label is {'x': 'y'}"),
        ("dtype", "zz", "dtype is 'zz'"),
        ("hidden_act", "zz", "hidden_act is 'zz'"),
        ("hidden_dropout_prob", 5, "hidden_dropout_prob is 5"),
        ("hidden_size", 33, "hidden_size is 33"),
        ("vocab_size", 5, "vocab_size is 5"),
        ("type_vocab_size", 0, "type_vocab_size is 0"),
        ("model_type", [{}], "model_type is [{}]"),
        ("model_type", "zz", "model type `zz`"),
        ("label2id", {"dog": {"x": 1}}, "label2id.dog is {'x': 1}"),
        ("vocab_size", None, "vocab_size is None"),
    ],
)
def test_the_field_and_its_value_are_named(config, checkpoint, field, value, said):
    config.write_text(json.dumps(json.loads(config.read_text()) | {field: value}))
    with pytest.raises(VitrifyError) as caught:
        open_checkpoint(checkpoint)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_not_a_config_is_refused_in_a_line(config, checkpoint, text):
    config.write_bytes(text)
    with pytest.raises(VitrifyError, match=r"config\.json"):
        open_checkpoint(checkpoint)
