"""Warpers, one by one, against transformers' classes on random scores."""

import numpy as np
import pytest
import torch
from transformers.generation import logits_process as oracle

from tests.runtime.generation.scores import VOCABULARY, assert_same, drawn_ids, drawn_scores
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.rules import warpers

IDS = drawn_ids(4)
LARGE = 3000

CASES = {
    "temperature": (warpers.temperature, oracle.TemperatureLogitsWarper, [0.1, 0.7, 1.0, 3.5], False),
    "top_k": (warpers.top_k, oracle.TopKLogitsWarper, [1, 2, 5, VOCABULARY - 1, VOCABULARY, 10_000], True),
    "top_p": (warpers.top_p, oracle.TopPLogitsWarper, [0.0, 0.01, 0.3, 0.9, 0.999, 1.0], True),
    "min_p": (warpers.min_p, oracle.MinPLogitsWarper, [0.0, 0.01, 0.3, 1.0], True),
    "top_h": (warpers.top_h, oracle.TopHLogitsWarper, [0.01, 0.4, 0.9], False),
    "typical_p": (warpers.typical_p, oracle.TypicalLogitsWarper, [0.01, 0.3, 0.9, 0.98], True),
    "epsilon_cutoff": (warpers.epsilon_cutoff, oracle.EpsilonLogitsWarper, [1e-4, 0.01, 0.3, 0.99], True),
    "eta_cutoff": (warpers.eta_cutoff, oracle.EtaLogitsWarper, [1e-4, 0.01, 0.3, 0.99], True),
}
SETTINGS = [(name, value) for name, (_, _, values, _) in CASES.items() for value in values]
WITH_KEEP = [(name, value) for name, value in SETTINGS if CASES[name][3]]


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_a_warper(name, value):
    ours, theirs, _, _ = CASES[name]
    assert_same(ours(value), theirs(value), IDS)
    for seed in range(5):
        assert_same(ours(value), theirs(value), IDS, drawn_scores(vocabulary=LARGE, seed=seed))


@pytest.mark.parametrize(("name", "value"), WITH_KEEP)
@pytest.mark.parametrize("keep", [2, 5, VOCABULARY + 3])
def test_a_warper_that_must_keep_some(name, value, keep):
    ours, theirs, _, _ = CASES[name]
    if keep > VOCABULARY and name == "top_k":
        keep = VOCABULARY
    for spread in (0.1, 3.0, 20.0):
        scores = drawn_scores(forbidden=0.1, spread=spread)
        found = assert_same(ours(value, keep=keep), theirs(value, min_tokens_to_keep=keep), IDS, scores)
        assert ((found > -np.inf).sum(axis=1) >= np.minimum(keep, (scores > -np.inf).sum(axis=1))).all()


@pytest.mark.parametrize(("name", "value"), SETTINGS)
@pytest.mark.parametrize("spread", [0.01, 30.0, 300.0])
def test_scores_that_are_much_alike_or_very_unlike(name, value, spread):
    ours, theirs, _, _ = CASES[name]
    for seed in range(5):
        assert_same(ours(value), theirs(value), IDS, drawn_scores(vocabulary=400, seed=seed, spread=spread))


@pytest.mark.parametrize(("name", "value"), SETTINGS)
def test_one_token_is_left(name, value):
    scores = np.full((3, VOCABULARY), -np.inf, np.float32)
    scores[:, 5] = [0.5, -3, 1000]
    assert_same(CASES[name][0](value), CASES[name][1](value), IDS, scores)


@pytest.mark.parametrize(("name", "value"), [("top_k", 3), ("min_p", 0.5), ("typical_p", 0.5), ("eta_cutoff", 0.01)])
def test_equal_scores(name, value):
    scores = np.round(drawn_scores(vocabulary=LARGE, spread=1.0) * 4) / 4
    assert_same(CASES[name][0](value), CASES[name][1](value), IDS, scores)


@pytest.mark.parametrize("name", ["top_p", "top_h"])
@pytest.mark.parametrize("value", [0.2, 0.5, 0.9])
def test_as_many_of_equal_scores_stay(name, value):
    """Which of them is up to torch's sorting, which does not keep their order."""
    scores = np.round(drawn_scores(vocabulary=LARGE, spread=1.0) * 4) / 4
    expected = CASES[name][1](value)(None, torch.tensor(scores)).numpy()
    found = CASES[name][0](value)(IDS, scores.copy())
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))


def test_top_h_of_one_keeps_a_hundred():
    found = warpers.top_h(1.0)(IDS, drawn_scores(vocabulary=LARGE))
    assert (found > -np.inf).sum(axis=1).tolist() == [100, 100, 100]


def test_one_after_the_other_as_generation_chains_them():
    scores = drawn_scores(vocabulary=LARGE, forbidden=0)
    expected, found = scores, scores
    for name, value in [("temperature", 0.7), ("top_k", 50), ("top_p", 0.9), ("min_p", 0.02), ("typical_p", 0.95)]:
        ours, theirs, _, _ = CASES[name]
        found = assert_same(ours(value), theirs(value), IDS, expected)
        expected = found
    assert 1 < (found > -np.inf).sum() < 3 * 50


def test_renormalized_scores():
    found = assert_same(warpers.renormalize_logits(), oracle.LogitNormalization(), IDS)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1, rtol=1e-5)


BAD = [
    *[("temperature", value) for value in (0, 0.0, -1.0, "1")],
    *[("top_k", value) for value in (0, -3, 2.5)],
    *[("top_p", value) for value in (-0.1, 1.1)],
    *[("min_p", value) for value in (-0.1, 1.1)],
    *[("top_h", value) for value in (0, -0.1, 1.1)],
    *[(name, value) for name in ("typical_p", "epsilon_cutoff", "eta_cutoff") for value in (0, -0.1, 1, 1.1)],
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_values_that_cannot_be_right(name, value):
    ours, theirs, _, _ = CASES[name]
    with pytest.raises(UsageError, match=f"{name} is {value!r}; it must be a"):
        ours(value)
    with pytest.raises(ValueError):  # noqa: PT011 - any will do
        theirs(value)


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"])
def test_fewer_tokens_than_one_cannot_be_kept(name):
    with pytest.raises(UsageError, match="fewest tokens to keep"):
        CASES[name][0](0.5, keep=0)


@pytest.mark.parametrize("count", [1, 2, 50, 99, 2999, 3000])
@pytest.mark.parametrize("size", [3000, 3001, 20_011])
def test_the_kth_largest(count, size):
    values = np.random.default_rng(size).standard_normal(size).astype(np.float32).round(2)
    assert warpers.kth_largest(values, count) == np.sort(values)[-count]
    values[values < 1] = -np.inf
    assert warpers.kth_largest(values, count) == np.sort(values)[-count]


@pytest.mark.parametrize("name", CASES)
def test_what_is_invalid_stays_so(name):
    """So that the draw can say it."""
    scores = drawn_scores(vocabulary=LARGE)
    scores[1, 7] = np.nan
    found = CASES[name][0](0.5 if name != "top_k" else 50)(IDS, scores)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 7]]
