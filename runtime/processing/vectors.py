"""Vectors of texts as sentence-transformers treats them: similarities, lengths, and numbers of fewer bits."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import UsageError

_TINY = 1e-12


def normalized(vectors: np.ndarray) -> np.ndarray:
    """Return vectors [..., size] scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, _TINY)


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return normalized(one) @ normalized(other).T


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one @ other.T


def _by_distance(order: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the negative distance, row by row: |a|² + |b|² - 2ab would lose the digits of near vectors."""

    def negative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        rows = [-np.linalg.norm(other - row, ord=order, axis=1) for row in one]
        return np.stack(rows) if rows else np.zeros((0, len(other)), np.float32)

    return negative


SIMILARITIES: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "cosine": _cosine,
    "dot": _dot,
    "euclidean": _by_distance(2),
    "manhattan": _by_distance(1),
}
"""The similarity of every row to every other, by the names of sentence-transformers."""


def rows_of(vectors: Any) -> np.ndarray:
    """Return one vector or several as float32 [rows, size]; raise UsageError for anything else."""
    try:
        found = np.atleast_2d(np.asarray(vectors, np.float32))
    except (TypeError, ValueError) as error:
        raise UsageError(f"similarity expects vectors [size] or [rows, size]: {error}") from error
    if found.ndim != 2:
        raise UsageError(f"similarity expects vectors [size] or [rows, size], got {found.ndim} axes")
    return found


def ranges_of(vectors: np.ndarray, precision: str) -> np.ndarray:
    """Return the least and the greatest value of each place, [2, size]; raise UsageError for a single vector."""
    if len(vectors) < 2:
        raise UsageError(
            f"precision='{precision}' takes its ranges from many vectors, got one: pass ranges=, [2, size], the least "
            "and the greatest value of each place in a representative set"
        )
    return np.stack([vectors.min(0), vectors.max(0)])


def _in_buckets(vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Return which of 256 buckets between the ranges each value falls into."""
    low, high = np.asarray(ranges, np.float32)
    steps = (high - low) / 255
    steps = np.where(steps == 0, np.float32(1), steps)
    return np.clip(np.floor((vectors - low) / steps), 0, 255)


def _int8(vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    return (_in_buckets(vectors, ranges) - 128).astype(np.int8)


def _uint8(vectors: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    return _in_buckets(vectors, ranges).astype(np.uint8)


def _binary(vectors: np.ndarray) -> np.ndarray:
    return (np.packbits(vectors > 0, axis=-1).astype(np.int16) - 128).astype(np.int8)


def _ubinary(vectors: np.ndarray) -> np.ndarray:
    return np.packbits(vectors > 0, axis=-1)


# By the names of sentence-transformers: those that need ranges, and those that need none.
_RANGED: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"int8": _int8, "uint8": _uint8}
_PACKED: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"binary": _binary, "ubinary": _ubinary}
PRECISIONS = ("float32", *_RANGED, *_PACKED)


def needs_ranges(precision: str) -> bool:
    """Tell whether the numbers of a precision are places between a least and a greatest value."""
    return precision in _RANGED


def quantized(vectors: np.ndarray, precision: str, ranges: np.ndarray | None = None) -> np.ndarray:
    """Return float32 vectors [..., size] in one of `PRECISIONS`; `ranges` [2, size] where it needs them.

    Source: sentence-transformers 6.2's quantize_embeddings. Bits are packed, eight to a number.
    """
    if precision in _PACKED:
        return _PACKED[precision](vectors)
    if precision in _RANGED:
        assert ranges is not None
        return _RANGED[precision](vectors, ranges)
    return vectors
