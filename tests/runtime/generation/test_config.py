"""The fields of a generation config, whose value wins, and what is refused."""

import json
import logging

import numpy as np
import pytest
import transformers

from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.saved_config import read_generation_config

# Fields of transformers that have no meaning without torch, or that only its own tools write.
NOT_OURS = {
    "assistant_lookbehind",
    "cache_config",
    "compile_config",
    "continuous_batching_config",
    "is_assistant",
    "target_lookbehind",
    "transformers_version",
}


def test_the_fields_are_those_of_transformers_and_a_seed():
    theirs = {name for name in vars(transformers.GenerationConfig()) if not name.startswith("_")}
    assert set(GenerationConfig.names()) == theirs - NOT_OURS | {"seed"}


def test_a_checkpoints_unknown_fields_are_left_out():
    config = GenerationConfig.from_mapping({"num_beams": 4, "transformers_version": "4.1", "lang_to_id": {}})
    assert config == GenerationConfig(num_beams=4)


def test_a_callers_unknown_argument_is_refused_with_a_close_name():
    with pytest.raises(UsageError, match=r"'max_new_token'\. Did you mean 'max_new_tokens'"):
        GenerationConfig().updated(max_new_token=3)


def test_a_callers_unlikely_argument_is_refused_with_all_names():
    with pytest.raises(UsageError, match=r"'xyz'\. It accepts: max_length, max_new_tokens"):
        GenerationConfig().updated(xyz=3)


def test_what_the_caller_gives_wins_over_the_model():
    model = GenerationConfig.from_mapping({"num_beams": 4, "length_penalty": 2.0})
    assert model.updated(num_beams=1) == GenerationConfig(num_beams=1, length_penalty=2.0)


def test_the_folder_s_file_is_read(tmp_path):
    transformers.GenerationConfig(num_beams=3, eos_token_id=[2, 5], max_new_tokens=7).save_pretrained(tmp_path)
    config = GenerationConfig.from_mapping(read_generation_config(tmp_path / "generation_config.json"))
    assert config == GenerationConfig(num_beams=3, eos_token_id=[2, 5], max_new_tokens=7)


@pytest.mark.parametrize("text", ["{", "[]", json.dumps("num_beams")])
def test_a_broken_file_is_refused(tmp_path, text):
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"generation_config\.json"):
        read_generation_config(tmp_path / "generation_config.json")


GOOD = [
    {"num_beams": 4, "num_return_sequences": 4},
    {"do_sample": True, "num_return_sequences": 9},
    {"early_stopping": "never", "num_beams": 2},
    {"temperature": 0.0},
    {"max_length": 0},
    {"suppress_tokens": [4], "forced_eos_token_id": [4, 5]},
    {"cache_implementation": "static"},
]
BAD = [
    {"max_new_tokens": 0},
    {"max_new_tokens": -1},
    {"early_stopping": "soon"},
    {"num_return_sequences": 2},
    {"num_beams": 2, "num_return_sequences": 3},
    {"suppress_tokens": [4, 5], "forced_bos_token_id": 4},
    {"suppress_tokens": [4, 5], "forced_eos_token_id": [4, 5]},
]
# What transformers refuses later, ignores, or lets fail inside torch.
ONLY_OURS = [
    {"max_new_tokens": True},
    {"max_new_tokens": float("inf")},
    {"max_new_tokens": "5"},
    {"num_beams": 0},
    {"num_return_sequences": "2"},
    {"seed": -1},
    {"temperature": "hot"},
    {"temperature": 0.0, "do_sample": True},
    {"temperature": -1.0, "do_sample": True},
]


@pytest.mark.parametrize("given", GOOD, ids=str)
def test_what_transformers_takes_is_taken(given):
    theirs, ours = transformers.GenerationConfig(**given), GenerationConfig(**given)
    ours.check()
    assert [getattr(ours, name) for name in given] == [getattr(theirs, name) for name in given]


@pytest.mark.parametrize("given", BAD, ids=str)
def test_what_transformers_refuses_is_refused(given):
    with pytest.raises(ValueError, match=list(given)[-1]):
        transformers.GenerationConfig(**given)
    with pytest.raises(UsageError, match=list(given)[-1]):
        GenerationConfig(**given).check()


@pytest.mark.parametrize("given", ONLY_OURS, ids=str)
def test_what_cannot_be_right_is_refused(given):
    with pytest.raises(UsageError, match=next(iter(given))):
        GenerationConfig(**given).check()


@pytest.mark.parametrize(
    "given",
    [
        {"penalty_alpha": 0.6, "top_k": 4},
        {"num_beams": 4, "num_beam_groups": 2},
        {"diversity_penalty": 0.5},
        {"dola_layers": "high"},
        {"constraints": ["anything"]},
        {"force_words_ids": [[4]]},
        {"low_memory": True},
        {"use_mtp": True},
        {"assistant_early_exit": 1},
        {"assistant_ensemble_weight": 0.5},
        {"speculation_type": "dflash"},
        {"output_attentions": True},
        {"output_hidden_states": True},
        {"cache_implementation": "quantized"},
    ],
    ids=str,
)
def test_what_is_not_supported_is_said_by_name(given):
    name = list(given)[-1] if "penalty_alpha" not in given else "penalty_alpha"
    with pytest.raises(UnsupportedError, match=name):
        GenerationConfig(**given).check()


@pytest.mark.parametrize(
    "given", [{"num_beam_groups": 1, "diversity_penalty": 0.0}, {"penalty_alpha": 0.6, "do_sample": True}], ids=str
)
def test_what_asks_for_nothing_unsupported_passes(given):
    config = GenerationConfig(**given)
    config.check()
    assert {name: getattr(config, name) for name in given} == given


def test_a_checkpoint_may_ask_for_what_the_caller_takes_back():
    model = GenerationConfig.from_mapping({"num_beams": 4, "num_beam_groups": 2})
    with pytest.raises(UnsupportedError):
        model.check()
    config = model.updated(num_beam_groups=1)
    config.check()
    assert (config.num_beams, config.num_beam_groups) == (4, 1)


@pytest.mark.parametrize("name", ["no_repeat_ngram_size", "bad_words_ids", "eos_token_id", "suppress_tokens", "top_p"])
def test_none_takes_a_rule_of_the_checkpoint_back(name):
    assert GenerationConfig(**{name: [[4]]}).updated(**{name: None}) == GenerationConfig()


def test_none_for_top_k_is_no_top_k_and_not_the_default():
    assert GenerationConfig(top_k=7).updated(top_k=None).top_k == 0


@pytest.mark.parametrize("given", [None, 2, [2, 5], np.int64(2)], ids=str)
def test_end_tokens_are_one_or_many(given):
    config = GenerationConfig(eos_token_id=given)
    assert config.eos_ids == tuple(np.atleast_1d(given)) if given is not None else config.eos_ids == ()
    assert config.pad_id == (2 if given is not None else None)


@pytest.mark.parametrize(
    ("given", "capacity", "expected"),
    [
        ({}, None, 27),
        ({}, 100, 27),
        ({}, 20, 20),
        ({"max_new_tokens": 5}, 100, 12),
        ({"max_new_tokens": 5.0}, 100, 12),
        ({"max_new_tokens": 4.5}, 100, 12),
        ({"max_length": 29.5}, 100, 30),
        ({"max_length": 30}, 100, 30),
        ({"max_length": 3}, 100, 3),
        ({"max_new_tokens": 5, "max_length": 30}, 100, 12),
        ({"max_new_tokens": 500}, 20, 21),  # the last token need not run
        ({"max_length": 500}, 20, 21),
    ],
    ids=str,
)
def test_rows_end_at(given, capacity, expected):
    assert GenerationConfig(**given).last_length(7, capacity) == expected


@pytest.mark.parametrize(
    ("given", "words"), [({"max_new_tokens": 5, "max_length": 9}, "wins"), ({"max_length": 50}, "accepts 20")], ids=str
)
def test_a_length_that_does_not_hold_is_warned_of(caplog, given, words):
    with caplog.at_level(logging.WARNING, "vitrify"):
        GenerationConfig(**given).last_length(7, 20)
    assert words in caplog.text
