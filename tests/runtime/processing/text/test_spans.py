"""The best spans, against a slow search of all of them, and at the edges."""

import numpy as np
import pytest

from vitrify.runtime.processing.text.spans import Span, best_spans

ROUNDING = 1e-6


def _slow(start, end, allowed, longest):
    """Every possible span with its score in float64, best first."""
    starts, ends = (_softmax(logits, allowed) for logits in (start, end))
    tokens = [token for token in range(1, len(start)) if allowed[token]]
    found = [(a, b, starts[a] * ends[b]) for a in tokens for b in tokens if a <= b < a + longest]
    return sorted(found, key=lambda span: -span[2])


def _softmax(logits, allowed):
    exponents = np.where(allowed, np.exp(logits.astype(np.float64)), 0)
    return exponents / exponents.sum()


@pytest.mark.parametrize("longest", [1, 4, 1000])
@pytest.mark.parametrize("count", [1, 7, 10_000])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_spans_are_those_of_a_slow_search(seed, count, longest):
    rng = np.random.default_rng(seed)
    start, end = rng.normal(scale=3, size=(2, 40)).astype(np.float32)
    allowed = rng.random(40) < 0.7
    found = best_spans(start, end, allowed=allowed, count=count, longest=longest).spans
    expected = _slow(start, end, allowed, longest)[:count]
    assert [span.score for span in found] == pytest.approx([score for *_, score in expected], abs=ROUNDING)
    assert {(span.first, span.last) for span in found} == {(first, last) for first, last, _ in expected}
    assert all(type(value) in {int, float} for span in found for value in vars(span).values())


def test_the_first_token_is_no_answer_but_counts_against_answers():
    start, end = np.array([9.0, 1.0, 0.0], np.float32), np.array([9.0, 0.0, 1.0], np.float32)
    everywhere, context = np.array([True] * 3), np.array([False, True, True])
    with_none = best_spans(start, end, allowed=everywhere, count=1, longest=3)
    without = best_spans(start, end, allowed=context, count=1, longest=3)
    assert (with_none.spans[0].first, with_none.spans[0].last) == (1, 2)
    assert with_none.impossible > 0.99
    assert with_none.spans[0].score < 1e-6
    assert without.impossible == 0
    assert without.spans[0].score == pytest.approx(0.731**2, abs=1e-3)


def test_padding_on_the_left_changes_nothing():
    start, end = np.random.default_rng(0).normal(size=(2, 12)).astype(np.float32)
    allowed = np.array([True] + [False] * 4 + [True] * 7)
    plain = best_spans(start, end, allowed=allowed, count=20, longest=3)
    padded = [np.pad(values, (5, 0)) for values in (start, end, allowed)]
    found = best_spans(padded[0], padded[1], allowed=padded[2], count=20, longest=3, first_token=5)
    assert [(span.first - 5, span.last - 5) for span in found.spans] == [
        (span.first, span.last) for span in plain.spans
    ]
    assert found.impossible == pytest.approx(plain.impossible)


def test_equal_scores_come_in_the_order_of_the_text():
    level = np.zeros(4, np.float32)
    found = best_spans(level, level, allowed=np.array([False, True, True, True]), count=4, longest=2).spans
    assert [(span.first, span.last) for span in found] == [(1, 1), (1, 2), (2, 2), (2, 3)]


def test_a_span_never_ends_before_it_starts():
    start, end = np.array([0, 0, 0, 50], np.float32), np.array([0, 50, 0, 0], np.float32)
    found = best_spans(start, end, allowed=np.array([True] * 4), count=100, longest=4).spans
    assert len(found) == 6
    assert all(span.first <= span.last for span in found)


def test_where_nothing_is_allowed_nothing_is_found():
    logits = np.ones(5, np.float32)
    assert best_spans(logits, logits, allowed=np.zeros(5, bool), count=3, longest=5).spans == ()


def test_logits_of_half_precision_are_computed_in_single():
    logits = np.array([0, 60000, -60000, 3], np.float16)
    found = best_spans(logits, logits, allowed=np.array([True] * 4), count=1, longest=15)
    assert found.spans == (Span(1, 1, 1.0),)


def test_a_very_long_text_with_no_limit_of_tokens_costs_no_square():
    logits = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    found = best_spans(logits, logits, allowed=np.ones(len(logits), bool), count=3, longest=15).spans
    assert len(found) == 3
