"""Logits processors that look at what a row or its source already says: repetition, repeated n-grams, and length.

Those named after the encoder go by the number of a row, so rows must not leave. All write into the scores.
"""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from ...errors import UsageError
from ..base import PADDING, Processor


def repetition_penalty(penalty: float) -> Processor:
    """Make the tokens of a row less likely, or likelier with a penalty below 1.

    Source: section 4.1 of CTRL, https://arxiv.org/abs/1909.05858; negative scores are multiplied, others divided.
    """
    factor = _factor("repetition_penalty", penalty)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        for said, row in zip(ids, scores, strict=True):
            _penalize(row, said[(said >= 0) & (said < len(row))], factor)
        return scores

    return process


def encoder_repetition_penalty(penalty: float, *, encoder_ids: Sequence[np.ndarray]) -> Processor:
    """Make what the encoder read likelier; `encoder_ids` is int64 [tokens] for each prompt."""
    factor = 1 / _factor("encoder_repetition_penalty", penalty)
    sources = [np.unique(source) for source in encoder_ids]

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        copies = len(scores) // len(sources)
        for index, row in enumerate(scores):
            source = sources[index // copies]
            _penalize(row, source[: np.searchsorted(source, len(row))], factor)
        return scores

    return process


def _penalize(row: np.ndarray, tokens: np.ndarray, factor: float) -> None:
    values = row[tokens]
    row[tokens] = np.where(values < 0, values * factor, values / factor)


def no_repeat_ngram_size(size: int) -> Processor:
    """Forbid the token that would complete an n-gram of `size` tokens which the row has already."""
    _check_size("no_repeat_ngram_size", size)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        windows = ids.shape[1] - size + 1
        if windows < 1:
            return scores
        # The tokens that end an n-gram, where those before them are the last ones of the row.
        ends = ids[:, size - 1 :]
        matches = (ends != PADDING) & (ends < scores.shape[1])
        for place in range(1, size):
            matches &= ids[:, size - 1 - place : size - 1 - place + windows] == ids[:, -place, None]
        rows, found = np.nonzero(matches)
        scores[rows, ends[rows, found]] = -np.inf
        return scores

    return process


def encoder_no_repeat_ngram_size(size: int, *, encoder_ids: Sequence[np.ndarray]) -> Processor:
    """Forbid the token that would complete an n-gram of `size` tokens which the encoder read.

    `encoder_ids` is int64 [tokens] for each prompt.
    """
    _check_size("encoder_no_repeat_ngram_size", size)
    sources = [_continuations(source, size) for source in encoder_ids]

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if ids.shape[1] < size - 1:
            return scores
        copies = len(scores) // len(sources)
        prefixes = ids[:, ids.shape[1] + 1 - size :].tolist()
        for index, (prefix, row) in enumerate(zip(prefixes, scores, strict=True)):
            tokens = sources[index // copies].get(tuple(prefix), ())
            row[[token for token in tokens if token < len(row)]] = -np.inf
        return scores

    return process


def _continuations(source: np.ndarray, size: int) -> dict[tuple[int, ...], set[int]]:
    """Return which tokens follow each sequence of `size` - 1 tokens."""
    found: dict[tuple[int, ...], set[int]] = {}
    tokens = source.tolist()
    for ngram in zip(*(tokens[place:] for place in range(size)), strict=False):
        found.setdefault(ngram[:-1], set()).add(ngram[-1])
    return found


def exponential_decay_length_penalty(setting: Sequence[float], *, prompt_length: int, eos: Sequence[int]) -> Processor:
    """Make end tokens exponentially likelier.

    `setting` is from how many new tokens on, and the factor of every token after; `prompt_length` is that of the
    longest prompt.
    """
    if len(setting) != 2 or not all(isinstance(value, Real) for value in setting):
        raise UsageError(
            f"exponential_decay_length_penalty is {setting!r}; it must be a number of tokens and a factor: (20, 1.1)"
        )
    if not len(eos) or min(eos) < 0:
        raise UsageError(
            f"exponential_decay_length_penalty makes end tokens likelier, got {list(eos)}: set eos_token_id"
        )
    start, factor = prompt_length + setting[0], np.float64(setting[1])
    ends = np.unique(np.asarray(eos, np.int64))

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        beyond = ids.shape[1] - start
        if beyond > 0:
            values = scores[:, ends]
            with np.errstate(over="ignore", invalid="ignore"):  # in the end the penalty is infinite
                penalty = np.abs(values) * np.float32(factor**beyond - 1)  # absolute, as scores may be negative
            scores[:, ends] = values + np.where(np.isfinite(values), penalty, 0)
        return scores

    return process


def _factor(name: str, penalty: Any) -> float:
    if not isinstance(penalty, Real) or not float(penalty) > 0:
        raise UsageError(f"{name} is {penalty!r}; it must be a number above 0, where 1.0 changes nothing")
    return float(penalty)


def _check_size(name: str, size: Any) -> None:
    if not isinstance(size, Integral) or size < 1:
        raise UsageError(f"{name} is {size!r}; it must be a whole number from 1")
