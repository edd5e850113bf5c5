"""How a token is chosen by its score: the likeliest, or a draw. A seeded generator makes draws repeatable."""

from collections.abc import Callable

import numpy as np

from ..errors import UsageError
from ..numerics import softmax
from .rules.warpers import kth_largest

# How many probabilities become one sum.
_BLOCK = 256


def greedy(scores: np.ndarray) -> np.ndarray:
    """Return the token of the highest score of each row, int64 [rows]; the first of equal ones."""
    return scores.argmax(axis=1)


def sampler(generator: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """Return what draws a token of each row, int64 [rows], by the softmax of its scores.

    A row takes one number of the generator. UsageError: a row has no token of a finite score, or NaN.
    """

    def draw(scores: np.ndarray) -> np.ndarray:
        chances = generator.random(len(scores))
        return np.array([_drawn(row, chance) for row, chance in zip(scores, chances, strict=True)], np.int64)

    return draw


def _drawn(row: np.ndarray, chance: float) -> int:
    _check_finite(row.max())
    left = row > -np.inf
    if left.all():
        return _first_beyond(softmax(row), chance)
    places = np.flatnonzero(left)
    return int(places[_first_beyond(softmax(row[places]), chance)])


def _first_beyond(probabilities: np.ndarray, chance: float) -> int:
    """Return the first place up to which the probabilities, in their order, sum to more than `chance`."""
    start, target = 0, chance
    if len(probabilities) > _BLOCK:  # the sums of blocks, of which there are few, tell which one it is in
        sums = np.cumsum(np.add.reduceat(probabilities, np.arange(0, len(probabilities), _BLOCK)), dtype=np.float64)
        target = chance * sums[-1]
        block = _first_above(sums, target)
        start, target = block * _BLOCK, target - (sums[block - 1] if block else 0)
        probabilities = probabilities[start : start + _BLOCK]
    sums = np.cumsum(probabilities, dtype=np.float64)
    return start + _first_above(sums, target)


def _first_above(sums: np.ndarray, target: float) -> int:
    """Return where ascending sums exceed `target` first, or, where rounding lets none of them, reach the last."""
    return int(np.searchsorted(sums, min(target, np.nextafter(sums[-1], 0)), side="right"))


def sample_without_replacement(scores: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draw `count` different places of each row by the softmax of its scores; int64 [rows, count], as drawn.

    Places of score -inf come last, where there are too few others. Source: Gumbel-top-k,
    https://arxiv.org/abs/1903.06059.
    """
    return np.stack([_drawn_places(row, count, generator) for row in scores])


def _drawn_places(row: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    _check_finite(row.max())
    places = np.flatnonzero(row != -np.inf)
    waits = np.maximum(generator.standard_exponential(len(places), np.float32), np.finfo(np.float32).tiny)
    keys = row[places] - np.log(waits)  # what is subtracted has the Gumbel distribution, but for its sign
    if len(places) <= count:
        rest = np.flatnonzero(row == -np.inf)[: count - len(places)]
        return np.concatenate([places[np.argsort(-keys)], rest])
    best = np.flatnonzero(keys >= kth_largest(keys, count))
    return places[best[np.argsort(-keys[best])]][:count]


def _check_finite(highest: np.floating) -> None:
    if not np.isfinite(highest):
        raise UsageError(
            f"no token can be drawn, as the highest score is {highest}: lower what forbids tokens, or pass "
            "remove_invalid_values=True"
        )
