"""A cache that is computed anew where the model rotates long rows otherwise: every answer is that of a fresh run."""

from typing import Self

import numpy as np
import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.base import Decoding
from vitrify.runtime.generation.decoders.switching import SwitchingDecoding

AT, VOCABULARY, CAPACITY = 10, 7, 24


class Rotating(Decoding):
    """A decoding whose cached tokens keep the rotation of the step they came in: long or short, as all rows then."""

    vocabulary, capacity = VOCABULARY, CAPACITY

    def __init__(self):
        self.states, self.runs = [], 0

    @property
    def lengths(self):
        return np.array([len(state) for state in self.states], np.int64)

    def append(self, tokens, *, keep=1):
        self.runs += sum(map(len, tokens))
        held = self.states or [[] for _ in tokens]
        longest = max(len(state) + len(row) for state, row in zip(held, tokens, strict=True))
        sign = -1 if longest > AT else 1
        self.states = [[*state, *(sign * int(t) for t in row)] for state, row in zip(held, tokens, strict=True)]
        kept = keep or len(tokens[0])
        return np.stack(
            [[self.logits(state[: len(state) - i]) for i in reversed(range(kept))] for state in self.states]
        )

    @staticmethod
    def logits(state):
        return np.float32(
            [sum(value * (place + 1 + column) for place, value in enumerate(state)) for column in range(7)]
        )

    def select(self, rows):
        self.states = [list(self.states[row]) for row in rows]

    def truncate(self, length):
        self.states = [state[:length] for state in self.states]

    def clone(self) -> Self:
        other = type(self)()
        other.states = [list(state) for state in self.states]
        return other


def opened(*, apart=False):
    return SwitchingDecoding(Rotating(), AT, apart=apart)


def drawn(*lengths, seed=0):
    return [np.random.default_rng([seed, i]).integers(1, 99, length) for i, length in enumerate(lengths)]


def fresh(*rows):
    return Rotating().append(rows)[:, -1]


def joined(rows, more):
    return [np.concatenate(pair) for pair in zip(rows, more, strict=True)]


@pytest.mark.parametrize("lengths", [(3,), (8, 8), (9, 4), (12, 3), (14,)])
@pytest.mark.parametrize("steps", [(1,) * 9, (1, 3, 2, 1), (8,)])
def test_prompts_steps_and_guesses_across_the_switch(lengths, steps):
    decoding, rows = opened(), drawn(*lengths)
    assert np.array_equal(decoding.append(rows)[:, -1], fresh(*rows))
    for seed, count in enumerate(steps, 1):
        more = drawn(*[count] * len(rows), seed=seed)
        logits = decoding.append(np.stack(more), keep=None)
        for i in range(count):  # each as if it had come alone
            assert np.array_equal(logits[:, i], fresh(*joined(rows, [row[: i + 1] for row in more])))
        rows = joined(rows, more)
    assert decoding.lengths.tolist() == [len(row) for row in rows]


@pytest.mark.parametrize("before", [6, 14])
@pytest.mark.parametrize("length", [3, 8, 12])
def test_a_truncated_row_goes_on_at_either_side(before, length):
    (row,), (more,) = drawn(before), drawn(5, seed=1)
    decoding = opened()
    decoding.append([row])
    decoding.truncate(length)
    whole = np.concatenate([row[:length], more])
    assert np.array_equal(decoding.append(more[None])[:, -1], fresh(whole))
    decoding.truncate(0)
    assert np.array_equal(decoding.append([row])[:, -1], fresh(row))


def test_selected_rows_and_clones_know_their_own_tokens():
    decoding, rows = opened(), drawn(9, 9)
    decoding.append(rows)
    other = decoding.clone()
    decoding.select(np.array([1, 1]))
    more = drawn(3, 3, seed=1)
    assert np.array_equal(decoding.append(np.stack(more))[:, -1], fresh(*joined([rows[1], rows[1]], more)))
    assert np.array_equal(other.append(np.stack(more))[:, -1], fresh(*joined(rows, more)))


def test_the_cache_is_computed_anew_once():
    inner = Rotating()
    decoding = SwitchingDecoding(inner, AT, apart=False)
    decoding.append(drawn(8))
    for seed in range(6):
        decoding.append(np.stack(drawn(1, seed=seed)))
    assert inner.runs == 8 + 2 + (AT + 1) + 3


def test_a_decoder_that_runs_rows_apart_takes_none_on_both_sides():
    decoding = opened(apart=True)
    decoding.append(drawn(9, 4))
    decoding.append(np.stack(drawn(1, 1)))
    with pytest.raises(UsageError, match=r"rows of 6 and 11 tokens.*beyond 10.*batch_size=1"):
        decoding.append(np.stack(drawn(1, 1)))


def test_too_many_tokens_change_nothing():
    decoding, rows = opened(), drawn(9)
    decoding.append(rows)
    with pytest.raises(UsageError, match=f"{CAPACITY}"):
        decoding.append(np.stack(drawn(20)))
    assert decoding.lengths.tolist() == [10]
