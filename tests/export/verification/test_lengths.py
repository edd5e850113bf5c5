"""Lengths that a config names, and what the comparisons of a decoder make of them."""

import pytest
import transformers

from tests.tiny_models import seeded
from vitrify.export.families.decoder import _courses, _crossing
from vitrify.export.verification.lengths import drops_its_cache, lengths_in, rotation_switch

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 16, "vocab_size": 40}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 100,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "original_max_position_embeddings": 100}


def phi3(rope):
    return transformers.Phi3Config(
        **SIZES,
        num_key_value_heads=4,
        max_position_embeddings=200,
        original_max_position_embeddings=100,
        rope_parameters=rope,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=0,
    )


def llama(rope):
    return transformers.LlamaConfig(**SIZES, max_position_embeddings=200, rope_parameters=rope)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (llama({"rope_type": "default", "rope_theta": 1e4}), []),
        (llama(YARN), [100]),
        (phi3(LONG), [100]),
        (transformers.MistralConfig(**SIZES, sliding_window=90, max_position_embeddings=200), [90]),
        (transformers.Llama4TextConfig(**SIZES, attention_chunk_size=70, max_position_embeddings=200), [70]),
        (transformers.GPTNeoConfig(window_size=33, max_position_embeddings=200), [33]),
        (transformers.MistralConfig(**SIZES, sliding_window=4096, max_position_embeddings=200), []),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_what_a_config_names(config, expected):
    found = lengths_in(config, config.max_position_embeddings)
    assert set(expected) <= set(found)
    assert all(1 < length < 200 for length in found)
    assert bool(found) or not expected


def windowed(length, positions=200):
    return transformers.MistralConfig(**SIZES, sliding_window=length, max_position_embeddings=positions)


@pytest.mark.parametrize("length", [90, 100, 197, 199])
def test_a_length_is_crossed_in_an_answer_and_in_a_prompt(length):
    courses = list(_crossing(windowed(length), 200, None))
    totals = [(course.prompt, course.prompt + sum(course.chunks)) for course in courses]
    assert sum(prompt < length < total for prompt, total in totals) == 2
    assert sorted(course.chunks[0] > 1 for course in courses)[:: len(courses) - 1] == [False, True]
    assert any(prompt > length for prompt, _ in totals) == (length < 197)
    assert all(0 < prompt < total <= 200 for prompt, total in totals)


def test_a_length_that_costs_too_much_or_is_crossed_already_is_left_out():
    assert list(_crossing(windowed(50_000, 100_000), 100_000, None)) == []
    assert list(_crossing(windowed(60), 200, None)) == []
    assert list(_crossing(windowed(60), 200, 60)) != []


def test_rows_of_different_lengths_stay_on_one_side_of_a_switch():
    for course in _courses(200, 40):
        assert course.rows == 1 or course.prompt + sum(course.chunks) <= 40


@pytest.mark.parametrize(("config", "switch"), [(phi3(LONG), 100), (llama(LONG), 100), (llama(YARN), None)])
def test_which_rotation_switches(config, switch):
    assert rotation_switch(config) == switch


@pytest.mark.parametrize(
    ("cls", "config", "drops"),
    [(transformers.Phi3ForCausalLM, phi3(LONG), True), (transformers.LlamaForCausalLM, llama(LONG), False)],
)
def test_the_model_is_asked_whether_it_drops_its_cache(cls, config, drops):
    assert drops_its_cache(seeded(cls, config), 100) == drops
