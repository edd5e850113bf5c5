"""The likeliest spans of a text by the logits of their starts and ends; knows tokens only by their position."""

from dataclasses import dataclass

import numpy as np

from ...numerics import softmax

# Where an answer cannot start or end; far below any logit, yet finite when nothing else is left.
EXCLUDED = -10_000.0


@dataclass(frozen=True)
class Span:
    """A span's first and last token, and its score: how likely it starts there times how likely it ends there."""

    first: int
    last: int
    score: float


@dataclass(frozen=True)
class Spans:
    """The best spans of one window, best first, and the score of there being no answer in it."""

    spans: tuple[Span, ...]
    impossible: float


def best_spans(
    start: np.ndarray, end: np.ndarray, *, allowed: np.ndarray, count: int, longest: int, first_token: int = 0
) -> Spans:
    """Return the `count` likeliest spans of at most `longest` tokens, equal scores in order of their position.

    Both ends are softmaxed over the allowed tokens; the first token then stands for "no answer", and no span holds it.
    Source: question-answering of transformers 4.57.3, after DrQA (Chen et al., 2017, arXiv:1704.00051).

    Parameters
    ----------
    start, end
        Logits, [tokens], of any float type; computed in float32.
    allowed
        Where a span may start or end, [tokens], bool.
    first_token
        Where the first token stands, after what padding there is on the left.

    """
    starts, ends = _likelihoods(start, allowed), _likelihoods(end, allowed)
    # Row by first token, column by length: spans that are backwards or too long are never made.
    first = np.arange(len(starts))[:, None]
    last = first + np.arange(min(longest, len(starts)))
    within = np.minimum(last, len(starts) - 1)
    possible = (last < len(starts)) & (first > first_token) & allowed[first] & allowed[within]
    scores = np.where(possible, starts[first] * ends[within], np.float32(-1))
    order = np.argsort(-scores, axis=None, kind="stable")[: min(count, int(possible.sum()))]
    firsts, lengths = np.unravel_index(order, scores.shape)
    spans = tuple(
        Span(int(at), int(last[at, length]), float(scores[at, length]))
        for at, length in zip(firsts, lengths, strict=True)
    )
    return Spans(spans, float(starts[first_token] * ends[first_token]))


def _likelihoods(logits: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    return softmax(np.where(allowed, logits.astype(np.float32), np.float32(EXCLUDED)))
