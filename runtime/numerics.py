"""The numerics that tasks, decoders and rules share, on numpy arrays; they know no model and keep the input's dtype."""

from collections.abc import Mapping

import numpy as np

# Tensors by name, as a graph reads and writes them.
Arrays = Mapping[str, np.ndarray]
# One row of them, without the batch axis; what makes a row may add to it.
Row = dict[str, np.ndarray]


def softmax(logits: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return exp(x - max) / sum along `axis`; a row never overflows."""
    weights = np.exp(logits - logits.max(axis=axis, keepdims=True))
    return np.divide(weights, weights.sum(axis=axis, keepdims=True), out=weights)


def log_softmax(logits: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """Return log probabilities over the last axis, in `out` if it is given, which may be `logits` itself."""
    made = np.empty_like(logits) if out is None else out
    weights = np.empty(logits.shape[-1], logits.dtype)
    for place in np.ndindex(logits.shape[:-1]):  # a row at a time stays in the processor's cache, a batch does not
        row = np.subtract(logits[place], logits[place].max(), out=made[place])
        row -= np.log(np.exp(row, out=weights).sum())
    return made


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)), computed so that neither end overflows."""
    return np.where(logits >= 0, 1 / (1 + np.exp(-np.abs(logits))), 1 - 1 / (1 + np.exp(-np.abs(logits)))).astype(
        logits.dtype
    )


def ranked(scores: np.ndarray, count: int | None) -> list[int]:
    """Return the indices of the `count` highest scores, best first, equal scores in index order; None means all."""
    order = np.argsort(-scores, kind="stable")
    return [int(index) for index in order[:count]]
