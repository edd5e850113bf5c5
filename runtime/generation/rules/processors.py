"""Logits processors that say which tokens may come next, as functions of the settings that transformers 5.23 has.

They know the ids so far and the scores of the next token, and write into the scores. Scores that are NaN stay so, but
where it says otherwise. Token ids beyond the vocabulary cannot come, so what forbids them does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...errors import UsageError
from ..base import PADDING, Processor

# From the number of a prompt and its ids so far, int64 [length], to the tokens that may come next.
PrefixAllowed = Callable[[int, np.ndarray], Sequence[int]]


def sequence_bias(biases: Mapping[tuple[int, ...], float] | Sequence[Any], *, vocabulary: int) -> Processor:
    """Add a bias to the token that would complete a sequence.

    `biases` maps tuples of tokens to numbers, or is a list of `[[token, ...], number]`.
    """
    pairs = _bias_pairs(biases)
    if beyond := sorted({token for tokens in pairs for token in tokens if token >= vocabulary}):
        raise UsageError(f"sequence_bias names the tokens {beyond}, but the model has {vocabulary}: leave those out")
    by_length: dict[int, list[tuple[tuple[int, ...], float]]] = {}
    for tokens, bias in pairs.items():
        by_length.setdefault(len(tokens), []).append((tokens, bias))
    alone = by_length.pop(1, [])
    tokens_alone = np.array([tokens[0] for tokens, _ in alone], np.int64)
    biases_alone = np.array([bias for _, bias in alone], np.float32)
    groups = [
        (np.array([tokens for tokens, _ in group], np.int64), np.array([bias for _, bias in group], np.float32))
        for group in by_length.values()
    ]

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if len(tokens_alone):
            scores[:, tokens_alone] += biases_alone
        for sequences, of_sequences in groups:
            before = sequences.shape[1] - 1
            if before > ids.shape[1]:
                continue
            matches = ids[:, -1:] == sequences[:, before - 1]
            for place in range(2, before + 1):
                matches &= ids[:, -place, None] == sequences[:, before - place]
            rows, found = np.nonzero(matches)
            if len(rows):  # add.at, as several sequences may end in one token
                np.add.at(scores, (rows, sequences[found, -1]), of_sequences[found])
        return scores

    return process


def bad_words_ids(words: Sequence[Sequence[int]], *, eos: Sequence[int] = (), vocabulary: int) -> Processor:
    """Forbid the token that would complete a word, given as its tokens; an end token alone is never forbidden."""
    if not _is_list(words) or not words or not all(_is_list(word) and word and _are_tokens(word) for word in words):
        raise UsageError(
            f"bad_words_ids is {words!r}; it must be a list, not empty, of lists of token ids: [[5], [7, 12]]"
        )
    ends = {(token,) for token in eos}
    biases = {word: -np.inf for word in map(tuple, words) if word not in ends}
    return sequence_bias(biases, vocabulary=vocabulary) if biases else _unchanged


def min_length(length: int, *, eos: Sequence[int]) -> Processor:
    """Forbid end tokens while there are fewer tokens than `length`, the longest prompt included."""
    _check_count("min_length", length)
    return _forbidden(eos, lambda now: now < length)


def min_new_tokens(count: int, *, prompt_length: int, eos: Sequence[int]) -> Processor:
    """Forbid end tokens while fewer than `count` follow the prompt; `prompt_length` is that of the longest."""
    _check_count("min_new_tokens", count)
    return _forbidden(eos, lambda now: now < prompt_length + count)


def suppress_tokens(tokens: Sequence[int]) -> Processor:
    """Forbid tokens."""
    return _forbidden(tokens, lambda _: True)


def begin_suppress_tokens(tokens: Sequence[int], *, begin_index: int) -> Processor:
    """Forbid tokens as the first of the answer, which comes when rows have `begin_index` tokens."""
    return _forbidden(tokens, lambda now: now == begin_index)


def prefix_allowed_tokens(function: PrefixAllowed, *, beams: int = 1) -> Processor:
    """Forbid all but the tokens that a function names; it goes by the number of a prompt, so rows must not leave.

    Where the others have forbidden all of them in every beam of a prompt, the function wins.
    """

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        allowed = [
            _allowed(function, index // beams, row[row != PADDING], scores.shape[1]) for index, row in enumerate(ids)
        ]
        kept = [row[tokens] for row, tokens in zip(scores, allowed, strict=True)]
        stuck = np.array([np.isneginf(values).all() for values in kept]).reshape(-1, beams).all(axis=1).repeat(beams)
        scores.fill(-np.inf)
        for index, (tokens, values) in enumerate(zip(allowed, kept, strict=True)):
            scores[index, tokens] = 0 if stuck[index] else values
        return scores

    return process


def _allowed(function: PrefixAllowed, prompt: int, ids: np.ndarray, vocabulary: int) -> np.ndarray:
    tokens = np.asarray(function(prompt, ids), np.int64)
    if not len(tokens):
        raise UsageError(
            f"prefix_allowed_tokens_fn allows no token for prompt {prompt} after {ids.tolist()}: return at least one"
        )
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        raise UsageError(
            f"prefix_allowed_tokens_fn allows {tokens.tolist()} for prompt {prompt}, but the model has {vocabulary} "
            "tokens: return ids below that"
        )
    return tokens


def forced_bos_token_id(token: int) -> Processor:
    """Make `token` the second one of all rows, after the token that an encoder-decoder's answers begin with."""
    return _forced("forced_bos_token_id", [token], lambda now: now == 1)


def forced_eos_token_id(tokens: int | Sequence[int], *, max_length: int) -> Processor:
    """Make one of `tokens` the last of `max_length` tokens."""
    ends = [tokens] if isinstance(tokens, int) else tokens
    return _forced("forced_eos_token_id", ends, lambda now: now == max_length - 1)


def remove_invalid_values() -> Processor:
    """Make NaN 0, and what is infinite the largest or smallest float32."""
    largest = float(np.finfo(np.float32).max)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        is_finite = np.isfinite(scores)
        if not is_finite.all():
            scores[~is_finite] = np.nan_to_num(scores[~is_finite], nan=0, posinf=largest, neginf=-largest)
        return scores

    return process


def whisper_timestamps(*, no_timestamps: int, eos: int, begin_index: int, max_initial: int | None = None) -> Processor:
    """Keep timestamps in pairs and in order, and prefer one where all together are likelier than any text.

    Timestamps are the tokens above `no_timestamps`, text those below `eos`. Source: section 2.3 of the Whisper paper
    (Radford et al. 2022) in the reading of transformers 5.23.

    Parameters
    ----------
    begin_index
        How many tokens a row has before its answer.
    max_initial
        The last timestamp, counted from the first, with which an answer may begin.

    """
    first = no_timestamps + 1

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        scores[:, no_timestamps] = -np.inf
        for answer, row in zip(ids[:, begin_index:], scores, strict=True):
            _pair_timestamps(answer, row, first=first, eos=eos)
        if ids.shape[1] == begin_index:
            scores[:, :first] = -np.inf
            if max_initial is not None:
                scores[:, first + max_initial + 1 :] = -np.inf
        for row in scores:
            highest = row[first:].max()
            if np.isfinite(highest):  # log of the sum of all timestamps' probabilities, unscaled as the text's is
                total = np.log(np.exp(row[first:] - highest).sum()) + highest
                if total > row[:first].max():
                    row[:first] = -np.inf
        return scores

    return process


def _pair_timestamps(answer: np.ndarray, row: np.ndarray, *, first: int, eos: int) -> None:
    places = np.flatnonzero(answer >= first)
    if not len(places):
        return
    last_is_timestamp = answer[-1] >= first
    is_open = last_is_timestamp and len(answer) > 1 and answer[-2] < first
    if is_open:  # its pair follows, or the end
        row[:eos] = -np.inf
    elif last_is_timestamp:
        row[first:] = -np.inf
    # Time does not run backwards; only the second of a pair may be what the first is.
    row[first : answer[places[-1]] + (0 if is_open else 1)] = -np.inf


def _unchanged(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
    del ids
    return scores


def _forbidden(tokens: Sequence[int], is_now: Callable[[int], bool]) -> Processor:
    """Return a processor that forbids `tokens` where `is_now` says so of the number of tokens in a row."""
    known = np.unique(np.asarray(tokens, np.int64))
    known = known[known >= 0]

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if is_now(ids.shape[1]):
            scores[:, known[: np.searchsorted(known, scores.shape[1])]] = -np.inf
        return scores

    return process


def _forced(name: str, tokens: Sequence[int], is_now: Callable[[int], bool]) -> Processor:
    if not _are_tokens(tokens):
        raise UsageError(f"{name} is {tokens!r}; it must name tokens: whole numbers from 0")
    columns = np.asarray(tokens, np.int64)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if is_now(ids.shape[1]):
            if columns.max() >= scores.shape[1]:
                raise UsageError(f"{name} is {tokens!r}, but the model has {scores.shape[1]} tokens: name one of them")
            scores.fill(-np.inf)
            scores[:, columns] = 0
        return scores

    return process


def _bias_pairs(biases: Any) -> dict[tuple[int, ...], float]:
    """Return biases by their sequences; UsageError for what is not of one of the two forms."""
    pairs = list(biases.items()) if isinstance(biases, Mapping) else biases
    if not _is_list(pairs) or not pairs or not all(_is_bias(pair) for pair in pairs):
        raise UsageError(
            f"sequence_bias is {biases!r}; it must map tuples of token ids to numbers, {{(5, 7): -2.0}}, or list them, "
            "[[[5, 7], -2.0]], and must not be empty"
        )
    return {tuple(tokens): float(bias) for tokens, bias in pairs}


def _is_bias(pair: Any) -> bool:
    if not _is_list(pair) or len(pair) != 2:
        return False
    tokens, bias = pair
    return _is_list(tokens) and len(tokens) > 0 and _are_tokens(tokens) and isinstance(bias, Real)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _are_tokens(values: Sequence[Any]) -> bool:
    return all(isinstance(value, Integral) and int(value) >= 0 for value in values)


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, Integral) or value < 0:
        raise UsageError(f"{name} is {value!r}; it must be a whole number from 0")
