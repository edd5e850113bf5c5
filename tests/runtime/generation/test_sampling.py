"""Draws: the distribution is the softmax of the scores, and a seed repeats them."""

import numpy as np
import pytest
import torch

from tests.runtime.generation.scores import drawn_scores
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.sampling import greedy, sample_without_replacement, sampler
from vitrify.runtime.numerics import softmax

DRAWS = 20_000


def drawn(scores, count=DRAWS, seed=0):
    """Return how often each token of one row is drawn."""
    tokens = sampler(np.random.default_rng(seed))(np.broadcast_to(scores, (count, len(scores))))
    assert tokens.dtype == np.int64
    assert tokens.shape == (count,)
    return np.bincount(tokens, minlength=len(scores))


def assert_distributed(found, probabilities):
    """Chi-squared, whose mean is the number of tokens less one, and its deviation the root of twice that."""
    expected = probabilities.astype(np.float64) * found.sum()
    assert (found[expected == 0] == 0).all()
    often = expected > 5  # rare tokens count as one
    groups = [*zip(found[often], expected[often], strict=True), (found[~often].sum(), expected[~often].sum())]
    distance = sum((seen - wanted) ** 2 / wanted for seen, wanted in groups if wanted)
    freedom = len(groups) - 1
    assert distance < freedom + 4 * np.sqrt(2 * freedom) + 1


@pytest.mark.parametrize("vocabulary", [2, 5, 255, 256, 257, 1000])
@pytest.mark.parametrize("forbidden", [0, 0.5])
def test_tokens_are_drawn_by_their_probability(vocabulary, forbidden):
    scores = drawn_scores(1, vocabulary, forbidden=forbidden, spread=1.0)[0]
    scores[0] = 1.0
    assert_distributed(drawn(scores), torch.tensor(scores).softmax(-1).numpy())


def test_the_comparison_can_fail():
    scores = drawn_scores(1, 20, forbidden=0, spread=1.0)[0]
    with pytest.raises(AssertionError):
        assert_distributed(drawn(scores), softmax(scores * 1.1))


def test_rows_are_drawn_on_their_own():
    scores = drawn_scores(4, 50, spread=0.5)
    several = sampler(np.random.default_rng(3))
    found = np.stack([several(scores) for _ in range(5000)])
    for row, tokens in zip(scores, found.T, strict=True):
        assert_distributed(np.bincount(tokens, minlength=50), softmax(row))
    assert (found[:, 0] != found[:, 1]).any()


def test_a_seed_repeats_the_draws():
    scores = drawn_scores(3, 1000)
    first, second, other = (sampler(np.random.default_rng(seed)) for seed in (7, 7, 8))
    draws = [[draw(scores).tolist() for _ in range(20)] for draw in (first, second, other)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("vocabulary", [10, 256, 700])
@pytest.mark.parametrize("chance", [0.0, 0.3, 1 - 2**-53])
def test_tokens_without_probability_are_never_drawn(vocabulary, chance):
    """Neither at the ends of a row nor where a chance falls on a sum."""

    class Fixed(np.random.Generator):
        def random(self, size=None):
            return np.full(size, chance)

    for place in (0, vocabulary // 2, vocabulary - 1):
        scores = np.full((1, vocabulary), -1000, np.float32)  # its weight underflows
        scores[0, place] = 0
        assert sampler(Fixed(np.random.PCG64(0)))(scores).tolist() == [place]
        scores[scores < 0] = -np.inf
        assert sampler(Fixed(np.random.PCG64(0)))(scores).tolist() == [place]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_invalid(value):
    scores = drawn_scores(2, 10)
    scores[1, 3] = value
    for choose in (sampler(np.random.default_rng(0)), lambda _: sample_without_replacement(scores, 2, GENERATOR)):
        with pytest.raises(UsageError, match="no token can be drawn"):
            choose(scores)


GENERATOR = np.random.default_rng(0)


def test_a_row_without_tokens():
    with pytest.raises(UsageError, match="no token can be drawn, as the highest score is -inf"):
        sampler(GENERATOR)(np.full((1, 10), -np.inf, np.float32))


def test_greedy():
    scores = drawn_scores(4, 100)
    scores[0, [7, 9]] = 99
    assert greedy(scores).tolist() == torch.tensor(scores).argmax(-1).tolist()
    assert greedy(scores)[0] == 7


def test_places_without_replacement_are_different():
    found = sample_without_replacement(drawn_scores(3, 40), 8, np.random.default_rng(0))
    assert found.shape == (3, 8)
    assert found.dtype == np.int64
    assert all(len(set(row)) == 8 for row in found.tolist())


def test_places_are_drawn_one_after_the_other():
    """The first by its probability, the second by that among the others: both against the exact distribution."""
    scores = drawn_scores(1, 6, forbidden=0, spread=1.0)[0]
    probabilities = softmax(scores).astype(np.float64)
    pairs = sample_without_replacement(np.broadcast_to(scores, (DRAWS, 6)), 2, np.random.default_rng(1))
    found = np.bincount(pairs[:, 0] * 6 + pairs[:, 1], minlength=36)
    exact = probabilities[:, None] * probabilities / (1 - probabilities[:, None])
    np.fill_diagonal(exact, 0)
    assert_distributed(found, exact.ravel())
    theirs = torch.multinomial(torch.tensor(probabilities).repeat(DRAWS, 1), 2).numpy()
    assert_distributed(np.bincount(theirs[:, 0] * 6 + theirs[:, 1], minlength=36), exact.ravel())


def test_places_of_no_probability_come_last():
    scores = np.full((1, 6), -np.inf, np.float32)
    scores[0, [4, 2]] = 0
    found = sample_without_replacement(scores, 4, np.random.default_rng(0))[0]
    assert set(found[:2]) == {2, 4}
    assert len(set(found)) == 4


def test_beams_that_must_not_win_come_after_those_that_may():
    scores = np.array([[-1e9, -3, -1e9, -2, -np.inf, -1]], np.float32)
    found = sample_without_replacement(scores, 5, np.random.default_rng(0))[0]
    assert set(found[:3]) == {1, 3, 5}
    assert set(found[3:]) == {0, 2}
