"""Quantization quality of a language model: next tokens, distributions, and what to mend.

It compares arrays of logits and knows neither graphs nor sessions: callers run the models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...runtime.errors import ParityError, UsageError

_POSITIONS_AT_ONCE = 32  # float64 of a vocabulary of 250,000 takes 64 MB


@dataclass(frozen=True)
class Quality:
    """What changed over a text: the share of positions whose most likely token is the same, and KL divergence in nats.

    The divergence is D(reference || candidate) of the next-token distributions, its mean and its largest value.
    """

    agreement: float
    kl_mean: float
    kl_max: float


@dataclass(frozen=True)
class QualityGate:
    """The least agreement and the largest mean divergence that pass."""

    agreement: float = 0.0
    kl_mean: float = float("inf")

    def passes(self, quality: Quality) -> bool:
        return quality.agreement >= self.agreement and quality.kl_mean <= self.kl_mean


Evaluate = Callable[[frozenset[str]], Quality]


def measure_quality(reference: np.ndarray, candidate: np.ndarray) -> Quality:
    """Compare logits of the same text, both [..., vocabulary], position by position.

    Raises
    ------
    UsageError
        The shapes differ, or there is no position.
    ParityError
        The candidate's logits are not all finite.

    """
    if reference.shape != candidate.shape or reference.size == 0:
        raise UsageError(f"logits: got shapes {reference.shape} and {candidate.shape}; expected two equal, not empty")
    if not np.isfinite(candidate).all():
        raise ParityError("the candidate's logits are not all finite: it matches at no tolerance")
    reference, candidate = (logits.reshape(-1, logits.shape[-1]) for logits in (reference, candidate))
    same = reference.argmax(axis=-1) == candidate.argmax(axis=-1)
    starts = range(0, len(reference), _POSITIONS_AT_ONCE)
    parts = [slice(start, start + _POSITIONS_AT_ONCE) for start in starts]
    divergence = np.concatenate([_divergence(reference[part], candidate[part]) for part in parts])
    return Quality(float(same.mean()), float(divergence.mean()), float(divergence.max()))


def nodes_to_keep(nodes: Sequence[str], evaluate: Evaluate, gate: QualityGate, *, most: int = 8) -> tuple[str, ...]:
    """Find nodes to leave in higher precision so that the gate passes, the most harmful first; none if it does.

    `evaluate` measures the model with the named nodes kept. Each is found by bisection, about 2 log2(n) evaluations:
    of two halves the search enters the one whose keeping helps more. Nodes harmful only together may be missed.

    Raises
    ------
    ParityError
        Keeping `most` nodes is not enough.

    """
    kept: tuple[str, ...] = ()
    quality = evaluate(frozenset())
    while not gate.passes(quality):
        left = [node for node in nodes if node not in kept]
        if not left or len(kept) >= most:
            raise ParityError(
                f"quantized weights: agreement {quality.agreement:.4f}, mean divergence {quality.kl_mean:.2g} with "
                f"{len(kept)} nodes kept in higher precision; expected {gate.agreement} and {gate.kl_mean:.2g}. "
                "Use more bits, a smaller block, or the profile cpu-fp32"
            )
        worst = _worst(left, frozenset(kept), evaluate)
        kept = (*kept, worst)
        quality = evaluate(frozenset(kept))
    return kept


def _worst(nodes: list[str], kept: frozenset[str], evaluate: Evaluate) -> str:
    while len(nodes) > 1:
        halves = nodes[: len(nodes) // 2], nodes[len(nodes) // 2 :]
        first, second = (_loss(evaluate(kept | set(half))) for half in halves)
        nodes = halves[0] if first <= second else halves[1]
    return nodes[0]


def _loss(quality: Quality) -> tuple[float, float]:
    """Order by mean divergence: agreement moves in steps and is too coarse to guide a search."""
    return quality.kl_mean, -quality.agreement


def _divergence(reference: np.ndarray, candidate: np.ndarray) -> np.ndarray:
    p, q = _log_softmax(reference), _log_softmax(candidate)
    # Rounding may leave equal distributions a hair below zero.
    return np.maximum((np.exp(p) * (p - q)).sum(axis=-1), 0.0)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
