"""Logits processors for sampling: what makes a choice more or less random, as functions of transformers' settings.

They write into the scores. Those that filter look only at the tokens that are left, so after top-k they are cheap.
`keep` is how many tokens must stay: with beams one more than there are end tokens, so that a beam can go on.
"""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...errors import UsageError
from ...numerics import log_softmax, softmax
from ..base import Processor

# (scores float32 [tokens] of one row, all above -inf) -> bool [tokens]: which of them stay.
Filter = Callable[[np.ndarray], np.ndarray]

# How many scores become one maximum.
_FOLD = 32
# How many tokens top-h looks at.
_TOP_H_TOKENS = 100
# What a sum of probabilities may be off.
_ROUNDING = 1e-5

_RANGES: Mapping[str, Callable[[float], bool]] = {
    "from 0 to 1": lambda value: 0 <= value <= 1,
    "above 0, up to 1": lambda value: 0 < value <= 1,
    "above 0, below 1": lambda value: 0 < value < 1,
}


def temperature(value: float) -> Processor:
    """Divide the scores: above 1 the choice is more random, below 1 less."""
    if not isinstance(value, Real) or not float(value) > 0:
        raise UsageError(f"temperature is {value!r}; it must be a number above 0. For greedy search: do_sample=False")
    divisor = np.float32(value)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        with np.errstate(over="ignore"):
            return np.divide(scores, divisor, out=scores)

    return process


def top_k(count: int, *, keep: int = 1) -> Processor:
    """Keep the `count` likeliest tokens, at least `keep`, and those as likely as the last of them."""
    if not isinstance(count, Integral) or count < 1:
        raise UsageError(f"top_k is {count!r}; it must be a whole number from 1, or 0 for no limit")
    kept = max(int(count), keep)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        if kept < scores.shape[1]:
            for row in scores:
                np.copyto(row, -np.inf, where=row < kth_largest(row, kept))
        return scores

    return process


def top_p(mass: float, *, keep: int = 1) -> Processor:
    """Keep the likeliest tokens whose probabilities together reach `mass`, at least `keep`.

    Nucleus sampling, https://arxiv.org/abs/1904.09751.
    """
    _check_fraction("top_p", mass, "from 0 to 1")
    _check_keep(keep)
    dropped = np.float32(1 - mass)

    def stays(values: np.ndarray) -> np.ndarray:
        probabilities = softmax(values)
        highest, total = probabilities.max(), probabilities.sum()
        # Those below some threshold that have no more than `dropped` together need no sorting; in the end all may stay.
        for lowest in (highest / 64, highest / 4096, dropped / len(values)):
            hopeful = probabilities[probabilities >= lowest]
            rest = max(total - hopeful.sum(), np.float32(0))
            if rest + _ROUNDING <= dropped:
                break
        sums = (np.cumsum(np.sort(hopeful), dtype=np.float64) + rest).astype(np.float32)
        return _largest(values, max(int((sums > dropped).sum()), keep))

    return _filtering(stays)


def min_p(fraction: float, *, keep: int = 1) -> Processor:
    """Keep tokens at least `fraction` times as likely as the likeliest, at least `keep`; https://arxiv.org/abs/2407.01082."""
    _check_fraction("min_p", fraction, "from 0 to 1")
    _check_keep(keep)
    factor = np.float32(fraction)

    def stays(values: np.ndarray) -> np.ndarray:
        probabilities = softmax(values)
        return _with_largest(probabilities >= factor * probabilities.max(), values, keep)

    return _filtering(stays)


def top_h(fraction: float) -> Processor:
    """Keep the likeliest of 100 tokens whose entropies together stay within `fraction` of the entropy of all 100.

    https://arxiv.org/abs/2509.02510.
    """
    _check_fraction("top_h", fraction, "above 0, up to 1")

    def stays(values: np.ndarray) -> np.ndarray:
        count = min(_TOP_H_TOKENS, len(values))
        highest = np.sort(values[_largest(values, count)])[::-1]
        probabilities = softmax(highest)
        probabilities = probabilities[probabilities > 0]
        terms = -probabilities * np.log(probabilities)
        sums = np.cumsum(terms, dtype=np.float64)
        return _largest(values, max(int((sums <= sums[-1] * fraction).sum()), 1))

    return _filtering(stays)


def typical_p(mass: float, *, keep: int = 1) -> Processor:
    """Keep the tokens whose information is closest to the expected, and whose probabilities together reach `mass`.

    Locally typical sampling, https://arxiv.org/abs/2202.00666.
    """
    _check_fraction("typical_p", mass, "above 0, below 1")
    _check_keep(keep)
    wanted = np.float32(mass)

    def stays(values: np.ndarray) -> np.ndarray:
        logprobs = log_softmax(values)
        distances = np.abs(-logprobs - _entropy(values))
        probabilities = softmax(values)
        for farthest in (0.25, 1, 3, 6, np.inf):  # the others need no sorting where those nearer are enough
            near = np.flatnonzero(distances <= farthest)
            if len(near) >= keep and probabilities[near].sum() > wanted + _ROUNDING:
                break
        order = near[np.argsort(distances[near], kind="stable")]
        sums = np.cumsum(probabilities[order], dtype=np.float64).astype(np.float32)
        last = min(int((sums < wanted).sum()), len(order) - 1)
        kept = distances <= distances[order[last]]
        kept[order[:keep]] = True
        return kept

    return _filtering(stays)


def epsilon_cutoff(epsilon: float, *, keep: int = 1) -> Processor:
    """Keep tokens of at least this probability, at least `keep`; https://arxiv.org/abs/2210.15191."""
    _check_fraction("epsilon_cutoff", epsilon, "above 0, below 1")
    _check_keep(keep)
    lowest = np.float32(epsilon)
    return _filtering(lambda values: _with_largest(softmax(values) >= lowest, values, keep))


def eta_cutoff(epsilon: float, *, keep: int = 1) -> Processor:
    """Keep tokens of at least a probability that falls with the entropy, at least `keep`; https://arxiv.org/abs/2210.15191."""
    _check_fraction("eta_cutoff", epsilon, "above 0, below 1")
    _check_keep(keep)
    highest = np.float32(epsilon)

    def stays(values: np.ndarray) -> np.ndarray:
        lowest = np.minimum(highest, np.sqrt(highest) * np.exp(-_entropy(values)))
        return _with_largest(softmax(values) >= lowest, values, keep)

    return _filtering(stays)


def renormalize_logits() -> Processor:
    """Make log probabilities of the scores."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        return log_softmax(scores)

    return process


def _filtering(stays: Filter) -> Processor:
    """Return a processor that gives -inf to the tokens which do not stay."""

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        for row in scores:
            left = row > -np.inf
            if left.all():
                np.copyto(row, -np.inf, where=~stays(row))
                continue
            places = np.flatnonzero(left)
            if len(places):
                row[places[~stays(row[places])]] = -np.inf
        return scores

    return process


def kth_largest(values: np.ndarray, count: int) -> np.floating:
    """Return the `count`-th largest value, for 0 < `count` <= len(values); no matter which where there is NaN.

    Partitioning a vocabulary takes a millisecond, maxima of its parts take microseconds. The `count`-th largest of
    those is no larger than the wanted value, and few values are above it.
    """
    maxima = values
    while len(maxima) // _FOLD >= 4 * count:
        width = len(maxima) // _FOLD
        folded = maxima[: width * _FOLD].reshape(_FOLD, width).max(axis=0)
        maxima = np.concatenate([folded, maxima[width * _FOLD :]])
    if maxima is not values:
        bound = np.partition(maxima, -count)[-count]
        values = values[values > bound]
        if len(values) < count:
            return bound
    return np.partition(values, -count)[-count]


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return where the `count` largest values are, bool [values]; of equal ones the last."""
    if count >= len(values):
        return np.ones(len(values), bool)
    lowest = kth_largest(values, count)
    found = values >= lowest
    surplus = np.count_nonzero(found) - count
    if surplus > 0:
        found[np.flatnonzero(values == lowest)[:surplus]] = False
    return found


def _with_largest(kept: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return `kept` with the `count` largest values in any case, and those equal to the last of them."""
    return kept | (values >= kth_largest(values, min(count, len(values))))


def _entropy(values: np.ndarray) -> np.floating:
    logprobs = log_softmax(values)
    return -(np.exp(logprobs) * logprobs).sum()


def _check_fraction(name: str, value: Any, allowed: str) -> None:
    if not isinstance(value, Real) or not _RANGES[allowed](float(value)):
        raise UsageError(f"{name} is {value!r}; it must be a number {allowed}")


def _check_keep(keep: Any) -> None:
    if not isinstance(keep, Integral) or keep < 1:
        raise UsageError(f"the fewest tokens to keep are {keep!r}; it must be a whole number from 1")
