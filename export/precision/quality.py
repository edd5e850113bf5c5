"""What to mend where quantized weights cost too much: the search for layers that keep more bits.

It knows neither graphs nor sessions: callers run the models.
"""

from collections.abc import Callable, Sequence

from ...runtime.errors import ParityError
from ...runtime.verification.quality import Quality, QualityGate

Evaluate = Callable[[frozenset[str]], Quality]


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
