"""Penalties, one by one, against transformers' classes on random scores and ids."""

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as oracle

from tests.runtime.generation.scores import LENGTHS, VOCABULARY, assert_same, drawn_ids, drawn_scores
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.base import PADDING
from vitrify.runtime.generation.rules import penalties

FACTORS = [0.5, 1.0, 1.3, 5.0]
RAGGED = np.array([[PADDING, PADDING, 5, 7, 5], [1, 2, 3, 4, 5], [PADDING, PADDING, PADDING, PADDING, 6]], np.int64)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("factor", FACTORS)
def test_repetition_penalty(length, factor):
    theirs = oracle.RepetitionPenaltyLogitsProcessor(factor)
    assert_same(penalties.repetition_penalty(factor), theirs, drawn_ids(length))


def test_padding_is_no_repetition():
    scores = drawn_scores(forbidden=0)
    found = penalties.repetition_penalty(1.5)(RAGGED, scores.copy())
    theirs = oracle.RepetitionPenaltyLogitsProcessor(1.5, prompt_ignore_length=torch.tensor([2, 0, 4]))
    expected = theirs(torch.tensor(RAGGED).clamp(min=0), torch.tensor(scores)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [np.count_nonzero(row) for row in found != scores] == [2, 5, 1]


def test_ids_beyond_the_vocabulary_are_not_penalized():
    ids = np.array([[3, VOCABULARY, VOCABULARY + 5, 4]], np.int64)
    assert_same(penalties.repetition_penalty(2.0), oracle.RepetitionPenaltyLogitsProcessor(2.0), ids)
    assert_same(penalties.no_repeat_ngram_size(1), oracle.NoRepeatNGramLogitsProcessor(1), ids)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("factor", FACTORS)
def test_encoder_repetition_penalty(copies, factor):
    sources = drawn_ids(5, rows=2, seed=1)
    ours = penalties.encoder_repetition_penalty(factor, encoder_ids=list(sources))
    theirs = oracle.EncoderRepetitionPenaltyLogitsProcessor(factor, torch.tensor(sources))
    assert_same(ours, theirs, drawn_ids(4, rows=2 * copies))


@pytest.mark.parametrize("penalty", [0, 0.0, -1.0, "2", None, float("nan")])
def test_penalties_that_cannot_be_right(penalty):
    with pytest.raises(UsageError, match="repetition_penalty is"):
        penalties.repetition_penalty(penalty)
    with pytest.raises(UsageError, match="encoder_repetition_penalty is"):
        penalties.encoder_repetition_penalty(penalty, encoder_ids=[np.array([1])])
    with pytest.raises(ValueError, match="penalty"):
        oracle.RepetitionPenaltyLogitsProcessor(penalty)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_no_repeated_ngrams(length, size):
    theirs = oracle.NoRepeatNGramLogitsProcessor(size)
    for seed in range(4):
        assert_same(penalties.no_repeat_ngram_size(size), theirs, drawn_ids(length, seed=seed) % 4)


def test_padding_is_no_ngram():
    for size, banned in [(1, [{5, 7}, {1, 2, 3, 4, 5}, {6}]), (2, [{7}, set(), set()]), (3, [set()] * 3)]:
        found = penalties.no_repeat_ngram_size(size)(RAGGED, np.zeros((3, VOCABULARY), np.float32))
        assert [set(np.flatnonzero(np.isneginf(row))) for row in found] == banned


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_ngrams_of_the_encoder(length, size, copies):
    sources = drawn_ids(9, rows=2, seed=1) % 4
    ours = penalties.encoder_no_repeat_ngram_size(size, encoder_ids=list(sources))
    theirs = oracle.EncoderNoRepeatNGramLogitsProcessor(size, torch.tensor(sources))
    for seed in range(4):
        assert_same(ours, theirs, drawn_ids(length, rows=2 * copies, seed=seed) % 4)


def test_encoders_may_have_read_texts_of_different_length():
    ours = penalties.encoder_no_repeat_ngram_size(2, encoder_ids=[np.array([3, 4, 5]), np.array([3])])
    found = ours(np.array([[1, 3], [PADDING, 3]]), np.zeros((2, VOCABULARY), np.float32))
    assert np.argwhere(np.isneginf(found)).tolist() == [[0, 4]]


@pytest.mark.parametrize("size", [0, -1, 2.0, "2"])
def test_sizes_that_cannot_be_right(size):
    with pytest.raises(UsageError, match="no_repeat_ngram_size is"):
        penalties.no_repeat_ngram_size(size)
    with pytest.raises(UsageError, match="encoder_no_repeat_ngram_size is"):
        penalties.encoder_no_repeat_ngram_size(size, encoder_ids=[])
    with pytest.raises(ValueError, match="ngram_size"):
        oracle.NoRepeatNGramLogitsProcessor(size)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("setting", [(0, 1.1), (1, 1.5), (5, 2), (3, 0.5), (100, 1.5)])
@pytest.mark.parametrize("eos", [[3], [3, 9, 3]])
def test_exponential_decay_length_penalty(length, setting, eos):
    ours = penalties.exponential_decay_length_penalty(setting, prompt_length=2, eos=eos)
    theirs = oracle.ExponentialDecayLengthPenalty(setting, eos, 2)
    assert_same(ours, theirs, drawn_ids(length), rtol=1e-5)


@pytest.mark.parametrize(("setting", "eos"), [((3,), [3]), ((3, "2"), [3]), ((3, 1.1), []), ((3, 1.1), [-1])])
def test_decays_that_cannot_be_right(setting, eos):
    with pytest.raises(UsageError, match="exponential_decay_length_penalty"):
        penalties.exponential_decay_length_penalty(setting, prompt_length=2, eos=eos)
