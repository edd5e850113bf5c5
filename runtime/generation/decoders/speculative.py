"""Speculation: guesses at the next tokens, which a decoder checks in one run instead of one run a token.

It knows neither rules nor samplers: what is chosen is the loop's, and a guess holds where it is what the loop chose.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import Self

import numpy as np

from ...errors import UsageError
from ..base import Decoding
from ..config import GenerationConfig
from .prefixes import resume

# What transformers guesses where nothing is said.
DEFAULT_TOKENS, DEFAULT_CONFIDENCE, DEFAULT_NGRAM = 20, 0.4, 2

# (ids int64 [length] so far, the most guesses that are of use) -> guesses int64 [up to so many].
Draft = Callable[[np.ndarray, int], np.ndarray]


class SpeculativeDecoding(Decoding):
    """A decoder of one row that runs guesses behind every token, and answers from what it found while they hold.

    To the loop it is the decoder itself: all logits stand after tokens that were chosen, so rules, samplers, stops and
    streamers see what they see without guesses. Where tokens are drawn, a guess holds with the probability that it is
    drawn, and else another token is: the rule of speculative sampling (https://arxiv.org/abs/2211.17192, algorithm 1)
    for a draft that is sure of its guess. So draws are plain sampling's, to the seed.

    Parameters
    ----------
    decoding
        A decoder of one row, with or without tokens of `prompt`.
    prompt
        The ids that the row begins with, int64 [tokens].
    limit
        The length at which the row ends at the latest; its last token is never run.
    ends
        Tokens after which nothing follows, so they are not worth a guess.

    """

    def __init__(
        self, decoding: Decoding, draft: Draft, prompt: np.ndarray, *, limit: int, ends: Sequence[int] = ()
    ) -> None:
        self._decoding, self._draft = decoding, draft
        self._limit, self._ends = limit, tuple(ends)
        self.vocabulary, self.capacity = decoding.vocabulary, decoding.capacity
        self._length = int(decoding.lengths.sum())
        self._ids = np.zeros(max(limit, len(prompt)), np.int64)
        self._ids[: len(prompt)] = prompt
        self._is_started = False
        self._forget()

    def _forget(self) -> None:
        self._guesses, self._found = np.zeros(0, np.int64), np.zeros((1, 0, 0), np.float32)

    @property
    def lengths(self) -> np.ndarray:
        return np.array([self._length][: len(self._decoding.lengths)], np.int64)

    def reserve(self, tokens: int) -> None:
        self._decoding.reserve(tokens)

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        new = np.asarray(tokens[0], np.int64)
        is_next = self._is_started and len(new) == 1 and keep == 1
        if is_next and len(self._guesses) and self._guesses[0] == new[0]:
            self._take(new)
            self._guesses, self._found = self._guesses[1:], self._found[:, 1:]
            return self._found[:, :1]
        self.settle()
        self._take(new)
        self._is_started = True
        if not is_next:  # the first token comes sooner without guesses
            return self._decoding.append([new], keep=keep)
        self._guesses = self._guessed()
        self._found = self._decoding.append([np.append(new, self._guesses)], keep=len(self._guesses) + 1)
        return self._found[:, :1]

    def _take(self, new: np.ndarray) -> None:
        self._ids[self._length : self._length + len(new)] = new
        self._length += len(new)

    def _guessed(self) -> np.ndarray:
        """Return what the draft guesses, as far as it is of use."""
        most = self._limit - 1 - self._length
        if most <= 0:
            return np.zeros(0, np.int64)
        guesses = self._draft(self._ids[: self._length], most)[:most]
        useless = np.flatnonzero(np.isin(guesses, self._ends) | (guesses >= self.vocabulary))
        return guesses[: useless[0]] if len(useless) else guesses

    def settle(self) -> None:
        """Forget the guesses that did not come true."""
        if self._decoding.lengths.sum() > self._length:
            self._decoding.truncate(self._length)
        self._forget()

    def select(self, rows: np.ndarray) -> None:
        assert rows.tolist() == [0]

    def truncate(self, length: int) -> None:
        self._length = min(self._length, length)
        self.settle()

    def clone(self) -> Self:
        other = copy(self)
        other._decoding, other._ids = self._decoding.clone(), self._ids.copy()  # noqa: SLF001 - its own
        other.settle()
        return other


def prompt_lookup(count: int, *, ngram: int = DEFAULT_NGRAM) -> Draft:
    """Return what guesses that text repeats itself: the last tokens stood before, so the same `count` follow again.

    It looks for the last `ngram` tokens, then for fewer, and takes the first place. Source:
    https://github.com/apoorvumang/prompt-lookup-decoding.
    """

    def guess(ids: np.ndarray, most: int) -> np.ndarray:
        for size in range(min(ngram, len(ids) - 1), 0, -1):
            windows = np.lib.stride_tricks.sliding_window_view(ids[:-1], size)
            found = np.flatnonzero((windows == ids[-size:]).all(axis=1))
            if len(found):
                start = found[0] + size
                return ids[start : start + min(count, most)].copy()
        return ids[:0]

    return guess


class DraftModel:
    """Guesses what a smaller decoder finds likeliest, token by token.

    Parameters
    ----------
    decoding
        A decoder that holds nothing yet.
    count
        How many tokens it guesses; with `adapts` two more after all were right, one less after one was not.
    confidence
        The probability under which a guess is the last one.

    """

    def __init__(self, decoding: Decoding, *, count: int, confidence: float, adapts: bool) -> None:
        self._decoding, self._count = decoding, count
        self._confidence, self._adapts = confidence, adapts
        self._held = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)  # the ids at the last guess, and it
        self._guessed = 0

    def __call__(self, ids: np.ndarray, most: int) -> np.ndarray:
        if self._adapts and self._guessed:
            was_right = len(ids) > len(self._last) and np.array_equal(ids[: len(self._last)], self._last)
            self._count = self._count + 2 if was_right else max(1, self._count - 1)
        capacity = self._decoding.capacity
        room = most if capacity is None else capacity + 1 - len(ids)
        count = min(self._count, most, room)
        self._guessed = 0
        if count <= 0 or ids.max() >= self._decoding.vocabulary:
            return ids[:0]
        guesses = self._written(ids, count)
        self._last = np.concatenate([ids, guesses])
        self._held, self._guessed = self._last[:-1], len(guesses)
        return guesses

    def _written(self, ids: np.ndarray, count: int) -> np.ndarray:
        """Return up to `count` tokens after `ids`; the last one is not run."""
        new, guesses = resume(self._decoding, self._held, ids), []
        while True:
            logits = self._decoding.append([new])[0, -1]
            guesses.append(int(logits.argmax()))
            if len(guesses) == count or 1 / np.exp(logits - logits.max()).sum() < self._confidence:
                return np.array(guesses, np.int64)
            new = np.array(guesses[-1:], np.int64)


def speculative(
    decoding: Decoding,
    config: GenerationConfig,
    prompts: Sequence[np.ndarray],
    *,
    limit: int,
    assistant: Decoding | None,
) -> SpeculativeDecoding | None:
    """Return the decoder with the guesses that are asked for, None where none are.

    `assistant` is a smaller decoder of the same vocabulary that holds nothing yet.
    """
    count = config.prompt_lookup_num_tokens
    if count is None and assistant is None:
        return None
    name = "assistant_model" if assistant is not None else "prompt_lookup_num_tokens"
    if count is not None and assistant is not None:
        raise UsageError("assistant_model and prompt_lookup_num_tokens both guess the next tokens: pass one of them")
    if len(prompts) > 1 or config.copies > 1:
        raise UsageError(
            f"{name} works on one sequence, but {len(prompts)} prompts with num_beams={config.beams} and "
            f"num_return_sequences={config.returned} make several at once: pass one prompt (batch_size=1), or leave "
            f"{name} out"
        )
    if assistant is None:
        draft = prompt_lookup(count or 1, ngram=config.max_matching_ngram_size or DEFAULT_NGRAM)
    else:
        assistant.reserve(limit)
        confidence = config.assistant_confidence_threshold
        draft = DraftModel(
            assistant,
            count=config.num_assistant_tokens or DEFAULT_TOKENS,
            confidence=DEFAULT_CONFIDENCE if confidence is None else confidence,
            adapts=config.num_assistant_tokens_schedule not in {None, "constant"},
        )
    return SpeculativeDecoding(decoding, draft, prompts[0], limit=limit, ends=config.eos_ids)
