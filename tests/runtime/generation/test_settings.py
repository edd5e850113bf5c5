"""What a checkpoint says of generation, beside what transformers reads of the same files."""

import json

import pytest
import transformers

from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.settings import checkpoint_settings, settings_in

RULES = {
    "no_repeat_ngram_size": 3,
    "encoder_no_repeat_ngram_size": 4,
    "min_length": 9,
    "max_length": 14,
    "num_beams": 4,
    "length_penalty": 2.0,
    "early_stopping": True,
    "repetition_penalty": 1.5,
    "bad_words_ids": [[7], [11, 13]],
    "suppress_tokens": [1, 2],
    "begin_suppress_tokens": [5],
    "forced_bos_token_id": 6,
    "forced_eos_token_id": [8, 9],
    "temperature": 0.5,
    "top_k": 3,
    "top_p": 0.9,
    "do_sample": True,
    "remove_invalid_values": True,
    "exponential_decay_length_penalty": [3, 1.1],
    "renormalize_logits": True,
}
TOKENS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}
UNASKED = {"output_attentions", "output_hidden_states", "seed"}
CONFIGS = {
    "tokens": TOKENS,
    "every rule": RULES | TOKENS,
    "null": RULES | {"eos_token_id": None, "num_beams": None},
    "text_config": {"bos_token_id": 9, "text_config": RULES | TOKENS},
    "decoder": {"pad_token_id": 9, "decoder": RULES | TOKENS, "encoder": {"num_beams": 7}},
    "generator": {"question_encoder": {"num_beams": 7}, "generator": RULES | TOKENS},
    "decoder over text_config": {"decoder": TOKENS, "text_config": RULES},
    "an empty decoder": {"decoder": {}, "text_config": RULES},
    "a decoder that is null": {"decoder": None, "text_config": RULES},
    "outer wins": {"num_beams": 2, "decoder": {"num_beams": 5, "top_k": 4}},
    "outer default": {"num_beams": 1, "decoder": {"num_beams": 5}},
    "BART": {"force_bos_token_to_be_generated": True, **TOKENS},
    "BART's decoder": {"force_bos_token_to_be_generated": True, "decoder": TOKENS},
    "of a task": {"task_specific_params": {"summarization": RULES}},
    "unknown": {"d_model": 32, "seed": 4, "vocab_size": 9, "length": 4},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_config_says_what_transformers_reads_in_it(config):
    theirs = transformers.GenerationConfig.from_model_config(json.loads(json.dumps(config)))
    expected = {name: getattr(theirs, name, None) for name in GenerationConfig.names() if name not in UNASKED}
    found = settings_in(config)
    assert {name: value for name, value in found.items() if value is not None} == {
        name: value for name, value in expected.items() if value is not None
    }


@pytest.mark.parametrize("name", sorted(set(GenerationConfig.names()) - UNASKED))
def test_every_field_of_a_decoder_is_read(name):
    assert settings_in({"decoder": {name: 1}}) == {name: 1}


def test_a_generation_config_stands_alone():
    saved = {"num_beams": 2, "eos_token_id": None, "lang_to_id": {"<|en|>": 5}}
    assert checkpoint_settings(RULES | TOKENS, saved) == {"num_beams": 2, "lang_to_id": {"<|en|>": 5}}
    assert checkpoint_settings(RULES | TOKENS, {}) == {}


def test_what_changes_no_token_is_not_asked_of_a_checkpoint():
    asked = dict.fromkeys(UNASKED, 1)
    assert checkpoint_settings({}, asked) == checkpoint_settings(asked, None) == {}
