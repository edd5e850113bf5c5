"""What a bundle says of generation: what transformers loads, from whichever of a checkpoint's files."""

import json

import pytest
import transformers

from vitrify.export.processors.generation_config import write_generation_config
from vitrify.runtime.errors import IntegrityError
from vitrify.runtime.generation.saved_config import read_generation_config
from vitrify.runtime.generation.settings import checkpoint_settings

SIZES = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 20}
SIZES |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 16}
RULES = {
    "no_repeat_ngram_size": 2,
    "min_length": 9,
    "bad_words_ids": [[7], [11]],
    "num_beams": 4,
    "repetition_penalty": 1.5,
}
TOKENS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}


@pytest.mark.parametrize("saved", [None, {}, {"eos_token_id": 5, "top_k": 3, "of_the_model": {"a": 1}}], ids=str)
def test_a_bundle_says_what_transformers_loads(saved, tmp_path):
    transformers.BartForConditionalGeneration(transformers.BartConfig(**SIZES, **TOKENS)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | RULES
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "generation_config.json").unlink()
    if saved is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(saved))
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    (tmp_path / "bundle").mkdir()
    write_generation_config(model, tmp_path / "bundle", source=tmp_path)
    found = checkpoint_settings({}, read_generation_config(tmp_path / "bundle" / "generation_config.json"))
    found = {name: value for name, value in found.items() if name not in {"transformers_version", "_from_model_config"}}
    expected = checkpoint_settings(config, saved)
    assert found == {name: value for name, value in expected.items() if name in found or value is not False}
    assert found.get("num_beams") == (4 if saved is None else None)


def test_a_model_that_does_not_generate_has_none(tmp_path):
    write_generation_config(transformers.BartModel(transformers.BartConfig(**SIZES)), tmp_path, source=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["", ["x"], 0.5])
def test_what_no_call_could_have_is_refused_by_field_and_value(value, tmp_path):
    model = transformers.BartForConditionalGeneration(transformers.BartConfig(**SIZES, **TOKENS))
    model.generation_config.eos_token_id = value
    with pytest.raises(IntegrityError, match=r"config\.json' is broken: eos_token_id.* is "):
        write_generation_config(model, tmp_path, source=tmp_path)
    assert not list(tmp_path.iterdir())
