"""Watermarks against transformers' processors, whose detectors must find them."""

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as oracle

from tests.runtime.generation.scores import VOCABULARY, assert_same, drawn_ids, drawn_scores
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.base import PADDING
from vitrify.runtime.generation.rules.watermarks import _shuffled, greenlist_watermark, synthid_watermark, watermark

KEYS = [654, 400, 836, 123, 340, 443, 597, 160, 57]


@pytest.mark.parametrize(
    ("length", "head"), [(1, 1), (2, 1), (10, 10), (1000, 250), (50_257, 12_564), (50_257, 50_257)]
)
@pytest.mark.parametrize("seed", [0, 15485863, 2**40 + 7])
def test_shuffled_as_torch_shuffles(length, head, seed):
    expected = torch.randperm(length, generator=torch.Generator().manual_seed(seed)).numpy()[:head]
    np.testing.assert_array_equal(_shuffled(seed, length, head), expected)


GREENLISTS = [
    {},
    {"greenlist_ratio": 0.5, "bias": -1.5, "hashing_key": 99},
    {"context_width": 3},
    {"hashing_key": 2**62 + 3},
    {"seeding_scheme": "selfhash"},
    {"seeding_scheme": "selfhash", "context_width": 4, "greenlist_ratio": 0.4},
]


@pytest.mark.parametrize("settings", GREENLISTS)
@pytest.mark.parametrize("vocabulary", [40, 500])
def test_greenlists(settings, vocabulary):
    theirs = oracle.WatermarkLogitsProcessor(vocabulary, "cpu", **settings)
    ours = greenlist_watermark(vocabulary=vocabulary, **settings)
    for length in (1, 2, 3, 4, 9):
        scores = drawn_scores(vocabulary=vocabulary, seed=length)
        found = assert_same(ours, theirs, drawn_ids(length), scores)
        assert (found != scores).any() == (length >= settings.get("context_width", 1))


def test_a_row_shorter_than_the_context_stays():
    ids = np.array([[PADDING, 4, 5], [3, 4, 5]], np.int64)
    scores = drawn_scores(rows=2)
    found = greenlist_watermark(vocabulary=VOCABULARY, context_width=3)(ids, scores.copy())
    np.testing.assert_array_equal(found[0], scores[0])
    assert (found[1] != scores[1]).any()


SYNTHIDS = [
    {"ngram_len": 5, "keys": KEYS},
    {"ngram_len": 2, "keys": KEYS[:2], "sampling_table_size": 300, "sampling_table_seed": 4},
    {"ngram_len": 3, "keys": KEYS, "skip_first_ngram_calls": True},
    {"ngram_len": 2, "keys": KEYS, "context_history_size": 3},
    {"ngram_len": 4, "keys": KEYS, "debug_mode": True},
]


@pytest.mark.parametrize("settings", SYNTHIDS)
def test_synthid_over_a_whole_answer(settings):
    """Their processor counts its calls, so it sees them all; few different tokens make contexts come again."""
    defaults = {"sampling_table_size": 2**16, "sampling_table_seed": 0, "context_history_size": 1024}
    theirs = oracle.SynthIDTextWatermarkLogitsProcessor(device="cpu", **{**defaults, **settings})
    ours = synthid_watermark(prompt_length=4, **settings)
    ids = drawn_ids(44) % 3
    unmarked = 0
    for length in range(4, 44):
        scores = drawn_scores(seed=length)
        expected = theirs(torch.tensor(ids[:, :length]), torch.tensor(scores)).numpy()
        found = ours(ids[:, :length], scores.copy())
        assert found.dtype == np.float32
        # As probabilities: of those that lose most rounds, rounding leaves few digits.
        np.testing.assert_allclose(np.exp(found), np.exp(expected), rtol=1e-4, atol=1e-6)
        unmarked += int((found == scores).all(axis=1).sum())
    assert (unmarked > 0) == ("debug_mode" not in settings)


def test_a_watermark_is_asked_for_by_its_settings():
    ids, scores = drawn_ids(4), drawn_scores()
    for settings, expected in [
        ({"bias": 1.0}, greenlist_watermark(vocabulary=VOCABULARY, bias=1.0)),
        ({"ngram_len": 3, "keys": KEYS}, synthid_watermark(prompt_length=4, ngram_len=3, keys=KEYS)),
    ]:
        ours = watermark(settings, vocabulary=VOCABULARY, prompt_length=4)
        np.testing.assert_array_equal(ours(ids, scores.copy()), expected(ids, scores.copy()))


BAD = {
    "seeding_scheme": {"seeding_scheme": "hash"},
    "greenlist_ratio": {"greenlist_ratio": 1.0},
    "greenlist_ratio is 0": {"greenlist_ratio": 0},
    "context_width": {"context_width": 0},
    "no field 'colour'": {"colour": "green"},
    "no field 'bias'": {"ngram_len": 5, "keys": KEYS, "bias": 1},
    "no keys": {"ngram_len": 5},
    "ngram_len": {"ngram_len": 1, "keys": KEYS},
    "sampling_table_size": {"ngram_len": 5, "keys": KEYS, "sampling_table_size": 2**25},
}


@pytest.mark.parametrize("said", BAD)
def test_settings_that_cannot_be_right(said):
    with pytest.raises(UsageError, match=said):
        watermark(BAD[said], vocabulary=VOCABULARY, prompt_length=4)
