"""Beam search: the sequences and scores of transformers, and the beams behind them."""

import numpy as np
import pytest
import torch

from tests.runtime.generation.against_transformers import (
    DECODERS,
    ENDS,
    SEQ2SEQ,
    are_alike,
    ours,
    theirs,
)
from tests.runtime.generation.torch_decoding import CountingDecoding, TorchDecoding, drawn_prompts, tiny_model
from vitrify.runtime.generation.beams import best_places

TOLERANCE = 1e-4
LENGTHS = ([5], [5, 3, 7])
OPTIONS = [
    {"num_beams": 2},
    {"num_beams": 4},
    {"num_beams": 4, "num_return_sequences": 3},
    {"num_beams": 4, "eos_token_id": 6},
    {"num_beams": 4, "eos_token_id": None, "num_return_sequences": 4},
    {"num_beams": 3, "early_stopping": True},
    {"num_beams": 3, "early_stopping": "never"},
    {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0},
    {"num_beams": 3, "early_stopping": "never", "length_penalty": -1.0},
    {"num_beams": 3, "length_penalty": 0.0},
    {"num_beams": 3, "length_penalty": 2.0},
    {"num_beams": 3, "length_penalty": -2.0, "num_return_sequences": 2},
    {"num_beams": 3, "early_stopping": True, "length_penalty": 0.5},
    {"num_beams": 2, "max_new_tokens": 1},
    {"num_beams": 2, "max_length": 9},
    {"num_beams": 2, "min_new_tokens": 6},
    {"num_beams": 2, "min_length": 10},
    {"num_beams": 2, "repetition_penalty": 1.4},
    {"num_beams": 2, "no_repeat_ngram_size": 2, "max_new_tokens": 30, "eos_token_id": 2},
    {"num_beams": 2, "bad_words_ids": [[20], [21, 22]], "renormalize_logits": True},
    {"num_beams": 2, "forced_eos_token_id": 2, "eos_token_id": 2, "max_new_tokens": 6},
    {"num_beams": 2, "suppress_tokens": list(range(10, 30))},
    {"num_beams": 2, "begin_suppress_tokens": list(range(4, 30))},
    {"num_beams": 2, "exponential_decay_length_penalty": (2, 1.2)},
    {"num_beams": 2, "sequence_bias": [[[20], 2.0], [[21, 22], -8.0]]},
    {"num_beams": 2, "encoder_no_repeat_ngram_size": 1},
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def completed(options):
    return {"eos_token_id": ENDS, "max_new_tokens": None if "max_length" in options else 12, **options}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@pytest.mark.parametrize("model_type", [*DECODERS, *SEQ2SEQ])
def test_beams_find_the_sequences_and_scores_of_transformers(model_type, lengths, options):
    if model_type in DECODERS and "encoder_no_repeat_ngram_size" in options:
        pytest.skip("there is no encoder")
    options = {**completed(options), "output_scores": True}
    made, expected = ours(model_type, lengths, options), theirs(model_type, lengths, options)
    assert are_alike(made, expected)
    np.testing.assert_allclose(made.sequences_scores, expected.sequences_scores, atol=TOLERANCE, rtol=TOLERANCE)


def test_the_scores_and_logits_of_a_step_are_those_of_transformers():
    options = completed({"num_beams": 3, "output_scores": True, "output_logits": True, "min_new_tokens": 4})
    made, expected = ours("llama", [5, 3, 7], options), theirs("llama", [5, 3, 7], options)
    assert len(made.scores) == len(expected.scores)
    left = 0
    for step, (scores, logits) in enumerate(zip(made.scores, made.logits, strict=True)):
        runs = ~np.isnan(logits).all(axis=1)
        left += (~runs).sum()
        np.testing.assert_allclose(scores[runs], expected.scores[step][runs], atol=TOLERANCE)
        np.testing.assert_allclose(logits[runs], expected.logits[step][runs], atol=TOLERANCE)
    assert left


def test_prompts_run_once_and_leave_when_they_are_done():
    decoding = CountingDecoding(tiny_model("llama"))
    ours("llama", [5, 3, 7], completed({"num_beams": 3, "early_stopping": True}), decoding=decoding)
    assert decoding.rows[:2] == [3, 9]
    assert decoding.rows == sorted(decoding.rows[:1]) + sorted(decoding.rows[1:], reverse=True)
    assert decoding.rows[-1] < 9


def test_rows_that_are_kept_give_the_same():
    decoding = CountingDecoding(tiny_model("llama"))
    options = completed({"num_beams": 3, "early_stopping": True})
    made = ours("llama", [5, 3, 7], options, decoding=decoding, keep_rows=True)
    assert set(decoding.rows[1:]) == {9}
    assert are_alike(made, theirs("llama", [5, 3, 7], options))


def test_allowed_tokens_go_by_prompt():
    def allowed(prompt, ids):
        return list(range(10, 20)) if prompt == 0 else list(range(20, 39))

    options = {"num_beams": 2, "max_new_tokens": 6}
    made = ours("llama", [5, 3], options, prefix_allowed_tokens_fn=allowed)
    assert are_alike(made, theirs("llama", [5, 3], options, prefix_allowed_tokens_fn=allowed))


def logprobs_of(tokens):
    with torch.no_grad():
        return tiny_model("llama")(torch.tensor(tokens)[None]).logits[0].log_softmax(-1)


def test_guided_beams_are_reordered_in_both_decoders():
    """transformers leaves the negative prompt's cache in its old order, so whole runs are the oracle."""
    scale, prompts = 1.7, drawn_prompts([5, 3])
    options = {"num_beams": 3, "num_return_sequences": 3, "guidance_scale": scale, "max_new_tokens": 8}
    made = ours("llama", [5, 3], options)
    for index, (sequence, score) in enumerate(zip(made.sequences, made.sequences_scores, strict=True)):
        start = len(prompts[index // 3])
        wished, avoided = logprobs_of(sequence)[start - 1 : -1], logprobs_of(sequence[start - 1 :])[:-1]
        guided = scale * (wished - avoided) + avoided
        total = guided.gather(1, torch.tensor(sequence[start:])[:, None]).sum().item()
        assert score == pytest.approx(total / (len(sequence) - start), abs=TOLERANCE)


class Unordered(TorchDecoding):
    def select(self, rows):
        if len(rows) != len(self.mask):
            super().select(rows)


class Shifted(TorchDecoding):
    def _positions(self, ids, mask):
        return super()._positions(ids, mask) + (ids.shape[1] == 1)


@pytest.mark.parametrize("kind", [Unordered, Shifted])
@pytest.mark.parametrize("model_type", DECODERS)
def test_a_wrong_cache_is_noticed(model_type, kind):
    options = completed({"num_beams": 4})
    assert not are_alike(ours(model_type, [5, 3, 7], options, kind=kind), theirs(model_type, [5, 3, 7], options))


def test_sampled_beams_repeat_by_seed_and_hold_what_the_model_finds_likely():
    options = completed({"num_beams": 3, "num_return_sequences": 3, "do_sample": True, "top_k": 0})
    first, again, other = (ours("llama", [5, 3], {**options, "seed": seed}) for seed in (0, 0, 1))
    assert [row.tolist() for row in first.sequences] == [row.tolist() for row in again.sequences]
    assert [row.tolist() for row in first.sequences] != [row.tolist() for row in other.sequences]
    scores = first.sequences_scores.reshape(2, 3)
    assert (np.diff(scores, axis=1) <= 0).all()
    for row, prompt in enumerate(drawn_prompts([5, 3])):
        for sequence, score in zip(first.sequences[3 * row :][:3], scores[row], strict=True):
            with torch.no_grad():
                logits = tiny_model("llama")(torch.tensor(sequence)[None]).logits[0, len(prompt) - 1 : -1]
            new = torch.tensor(sequence[len(prompt) :])
            total = logits.log_softmax(-1).gather(1, new[:, None]).sum().item()
            assert score == pytest.approx(total / len(new), abs=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 7), (3, 50), (2, 300), (3, 5001), (2, 12800)], ids=str)
@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_best_places_are_those_of_a_full_sort(shape, count):
    scores = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    assert best_places(scores, count).tolist() == expected.tolist()


def test_places_of_equal_scores_are_different_ones():
    scores = np.full((2, 5000), -np.inf, np.float32)
    scores[:, 7] = 1
    places = best_places(scores, 6)
    assert (places[:, 0] == 7).all()
    assert [len(set(row)) for row in places.tolist()] == [6, 6]
