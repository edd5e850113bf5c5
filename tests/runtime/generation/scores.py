"""Random scores and ids, and the comparison of a logits processor with one of transformers on them."""

import numpy as np
import torch

VOCABULARY = 32
LENGTHS = [1, 2, 3, 7, 40]


def drawn_ids(length, rows=3, seed=0):
    """Return int64 [rows, length] of few different tokens, so that they repeat themselves."""
    return np.random.default_rng([seed, length]).integers(0, 12, (rows, length))


def drawn_scores(rows=3, vocabulary=VOCABULARY, *, forbidden=0.2, seed=0, spread=3.0):
    """Return float32 [rows, vocabulary]; a part of each row is -inf."""
    generator = np.random.default_rng([seed, rows, vocabulary])
    scores = (generator.standard_normal((rows, vocabulary)) * spread).astype(np.float32)
    scores[generator.random(scores.shape) < forbidden] = -np.inf
    return scores


def assert_same(ours, theirs, ids, scores=None, *, rtol=1e-6, atol=1e-6):
    """Compare scores and return them; without any, on some with and some without -inf."""
    if scores is None:
        assert_same(ours, theirs, ids, drawn_scores(len(ids), forbidden=0), rtol=rtol, atol=atol)
        scores = drawn_scores(len(ids))
    expected = theirs(torch.tensor(ids), torch.tensor(scores)).numpy()
    before = ids.copy()
    found = ours(ids, scores.copy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(ids, before)
    return found
