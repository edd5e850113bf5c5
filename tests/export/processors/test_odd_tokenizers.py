"""A tokenizer's file that no bundle can have is refused in a line that names the field and its value."""

import json

import pytest

from tests.checkpoints import TOKENIZERS
from tests.tokenizers_tiny import tiny_tokenizer
from vitrify.export.processors.tokenizer import load_tokenizer, write_tokenizer
from vitrify.runtime.errors import VitrifyError

CONFIG = "tokenizer_config.json"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_tokenizer(TOKENIZERS["bert"], model_max_length=128).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(saved, tmp_path):
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("mask_token", "\ud800", "mask_token is '\\ud800'"),
        ("model_input_names", ["input_ids", "\udfff"], "model_input_names is ['input_ids', '\\udfff']"),
        ("model_max_length", "x\ny", "model_max_length is 'x\\ny'"),
    ],
)
def test_the_field_and_its_value_are_named(folder, field, value, said):
    config = json.loads((folder / CONFIG).read_text()) | {field: value}
    (folder / CONFIG).write_text(json.dumps(config))
    (folder / "bundle").mkdir()
    with pytest.raises(VitrifyError) as caught:
        write_tokenizer(load_tokenizer(folder), folder / "bundle")
    assert said in str(caught.value)
    assert str(folder / "bundle") not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"", b"\xff\xfe{}"])
def test_what_is_not_json_is_refused_in_a_line(folder, text):
    (folder / CONFIG).write_bytes(text)
    with pytest.raises(VitrifyError, match=CONFIG):
        load_tokenizer(folder)
