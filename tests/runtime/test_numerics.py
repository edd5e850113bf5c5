"""The shared numerics: equal to torch, bit for bit the same on one row and on many."""

import numpy as np
import pytest
import torch

from vitrify.runtime.numerics import log_softmax, ranked, sigmoid, softmax

SHAPES = ((1,), (5,), (3, 7), (2, 3, 11), (4, 50_000))


def drawn(shape, dtype=np.float32, *, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 20).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_are_torchs(shape, dtype):
    logits = drawn(shape, dtype)
    theirs = torch.tensor(logits)
    for ours, expected in (
        (softmax(logits), theirs.softmax(-1)),
        (log_softmax(logits), theirs.log_softmax(-1)),
        (sigmoid(logits), theirs.sigmoid()),
    ):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, expected.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_a_row_is_the_same_alone_and_among_others(function):
    logits = drawn((6, 1031))
    logits[2, :500] = -np.inf
    np.testing.assert_array_equal(function(logits), np.stack([function(row) for row in logits]))


def test_softmax_is_the_quotient_of_the_exponentials():
    row = drawn((4099,))
    weights = np.exp(row - row.max())
    np.testing.assert_array_equal(softmax(row), weights / weights.sum())


def test_softmax_goes_along_any_axis():
    logits = drawn((5, 9))
    np.testing.assert_array_equal(softmax(logits, axis=0), np.ascontiguousarray(softmax(logits.T.copy(), axis=1).T))


def test_log_softmax_writes_where_it_is_told():
    logits = drawn((3, 40))
    expected = log_softmax(logits)
    assert log_softmax(logits, out=logits) is logits
    np.testing.assert_array_equal(logits, expected)


def test_nothing_overflows():
    logits = np.array([-1e30, 0.0, 1e30], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        assert softmax(logits).tolist() == [0, 0, 1]
        assert sigmoid(logits).tolist() == [0, 0.5, 1]


def test_equal_scores_keep_their_order():
    assert ranked(np.array([1.0, 3.0, 3.0, 2.0]), None) == [1, 2, 3, 0]
    assert ranked(np.array([1.0, 3.0, 3.0, 2.0]), 2) == [1, 2]
