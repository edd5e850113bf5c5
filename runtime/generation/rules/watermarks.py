"""Watermarks: logits processors whose mark a detector finds in the text.

They give what transformers 5.23 gives on a CPU, to the token: its detectors find them. All write into the scores.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ...errors import UsageError
from ..base import PADDING, Processor
from .warpers import kth_largest

_TABLE = 1_000_003
_SCHEMES = ("lefthash", "selfhash")
# How many of the likeliest tokens "selfhash" looks at, one after the other.
_LOOKED_AT = 40
# A step of a linear congruential generator (Knuth's MMIX), modulo 2^64.
_MULTIPLIER = np.int64(6364136223846793005)


def watermark(settings: Mapping[str, Any], *, vocabulary: int, prompt_length: int) -> Processor:
    """Return the watermark that a `watermarking_config` asks for: SynthID's where it has `ngram_len`.

    `prompt_length` is that of the longest prompt.
    """
    is_synthid = "ngram_len" in settings
    allowed = _SYNTHID if is_synthid else _GREENLIST
    if unknown := sorted(set(settings) - allowed):
        raise UsageError(f"watermarking_config has no field '{unknown[0]}'. It accepts: {', '.join(sorted(allowed))}")
    if is_synthid:
        if "keys" not in settings:
            raise UsageError("watermarking_config has no keys: pass a list of whole numbers")
        return synthid_watermark(prompt_length=prompt_length, **settings)
    return greenlist_watermark(vocabulary=vocabulary, **settings)


_GREENLIST = frozenset({"greenlist_ratio", "bias", "hashing_key", "seeding_scheme", "context_width"})
_SYNTHID = frozenset(
    {
        "ngram_len",
        "keys",
        "context_history_size",
        "sampling_table_seed",
        "sampling_table_size",
        "skip_first_ngram_calls",
        "debug_mode",
    }
)


def greenlist_watermark(
    *,
    vocabulary: int,
    greenlist_ratio: float = 0.25,
    bias: float = 2.0,
    hashing_key: int = 15485863,
    seeding_scheme: str = "lefthash",
    context_width: int = 1,
) -> Processor:
    """Make a part of the vocabulary likelier that the tokens before choose; https://arxiv.org/abs/2306.04634.

    A row shorter than `context_width` stays as it is.

    Parameters
    ----------
    seeding_scheme
        "lefthash": the last token chooses. "selfhash": the next token itself chooses too, with `context_width` tokens.

    """
    if seeding_scheme not in _SCHEMES:
        raise UsageError(f"watermarking_config's seeding_scheme is {seeding_scheme!r}; allowed: {', '.join(_SCHEMES)}")
    if not 0 < greenlist_ratio < 1:
        raise UsageError(f"watermarking_config's greenlist_ratio is {greenlist_ratio!r}; it must be above 0, below 1")
    if context_width < 1:
        raise UsageError(f"watermarking_config's context_width is {context_width!r}; it must be from 1")
    size, added = int(vocabulary * greenlist_ratio), np.float32(bias)

    @lru_cache(maxsize=256)
    def greenlist(seed: int) -> np.ndarray:
        return _shuffled(seed % (2**64 - 1), vocabulary, size)

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        for said, row in zip(ids, scores, strict=True):
            if len(said) < context_width or said[-context_width] == PADDING:
                continue
            if seeding_scheme == "lefthash":
                green = greenlist(hashing_key * int(said[-1]))
            else:
                likeliest = _likeliest(row, _LOOKED_AT)
                seeds = _self_seeds(said, likeliest, key=hashing_key, width=context_width)
                chosen = [token in greenlist(seed) for token, seed in zip(likeliest, seeds, strict=True)]
                green = likeliest[chosen]
            row[green] += added
        return scores

    return process


def _likeliest(row: np.ndarray, count: int) -> np.ndarray:
    """Return the tokens of the `count` highest scores, highest first."""
    places = np.flatnonzero(row >= kth_largest(row, min(count, len(row))))
    return places[np.argsort(-row[places], kind="stable")][:count]


def _self_seeds(said: np.ndarray, tokens: np.ndarray, *, key: int, width: int) -> list[int]:
    """Return the seed that each of `tokens` gives as the next one; products wrap around at 64 bits."""
    table = _fixed_table(key)
    before = np.broadcast_to(said[len(said) - width + 1 :], (len(tokens), width - 1))
    contexts = table[np.concatenate([before, tokens[:, None]], axis=1) % _TABLE] + 1
    return (np.int64(key) * contexts * contexts[:, -1:]).min(axis=1).tolist()


def synthid_watermark(
    *,
    prompt_length: int,
    ngram_len: int,
    keys: Sequence[int],
    context_history_size: int = 1024,
    sampling_table_seed: int = 0,
    sampling_table_size: int = 2**16,
    skip_first_ngram_calls: bool = False,
    debug_mode: bool = False,
) -> Processor:
    """Let the tokens before choose between the likely ones, key by key; https://www.nature.com/articles/s41586-024-08025-4.

    The tokens before are those of the answer. A row whose last ones stood there before stays as it is.

    Parameters
    ----------
    skip_first_ngram_calls
        Leave the first `ngram_len` - 1 tokens of the answer as they are.
    debug_mode
        Mark scores that are all alike, whatever the decoder says.

    """
    if ngram_len < 2:
        raise UsageError(f"watermarking_config's ngram_len is {ngram_len!r}; it must be from 2")
    if not 0 < sampling_table_size <= 2**24:
        raise UsageError(
            f"watermarking_config's sampling_table_size is {sampling_table_size!r}; it must be from 1 to {2**24}"
        )
    table = (_random(sampling_table_seed, sampling_table_size) % 2).astype(np.float32)
    depths = np.array(keys, np.int64)
    first = ngram_len - 1 if skip_first_ngram_calls else 0

    def process(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if debug_mode:
            scores.fill(1)
        answers = ids[:, prompt_length:]
        if answers.shape[1] < first:
            return scores
        contexts = _context_hashes(answers, ngram_len - 1)[:, first:][:, -1 - context_history_size :]
        now, history = contexts[:, -1:], contexts[:, :-1]
        is_new = ~(history == now).any(axis=1)
        if history.shape[1] < context_history_size:  # what is not filled of the history is zero
            is_new &= now[:, 0] != 0
        for row in np.flatnonzero(is_new):
            scores[row] = _tournament(scores[row], now[row], depths, table)
        return scores

    return process


def _context_hashes(answers: np.ndarray, width: int) -> np.ndarray:
    """Return the hash of the `width` tokens before each of the answers and the next, int64 [rows, length + 1]."""
    padded = np.pad(answers, ((0, 0), (width, 0)))
    hashes = np.ones((len(answers), answers.shape[1] + 1), np.int64)
    for place in range(width):
        hashes = _hashed(hashes, padded[:, place : place + hashes.shape[1]])
    return hashes


def _hashed(current: np.ndarray, data: np.ndarray) -> np.ndarray:
    return (current + data) * _MULTIPLIER + 1


def _tournament(row: np.ndarray, context: np.ndarray, keys: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the log probabilities after one round of a tournament for each key, whose winners `table` names."""
    tokens = np.flatnonzero(row > -np.inf)
    weights = np.exp(row[tokens] - row[tokens].max())
    weights /= weights.sum()
    hashes = _hashed(context, tokens)
    for key in keys:
        wins = table[_hashed(hashes, key) % len(table)]
        weights *= 1 + wins - (wins * weights).sum()
    found = np.full_like(row, np.finfo(np.float32).min)
    possible = weights > 0
    found[tokens[possible]] = np.log(weights[possible])
    return found


def _random(seed: int, count: int) -> np.ndarray:
    """Return the first numbers of torch's CPU generator, uint32 [count]: a Mersenne twister, seeded by 32 bits."""
    legacy = np.random.RandomState(seed % 2**32)
    return legacy.randint(0, 2**32, size=count, dtype=np.uint32)


@lru_cache(maxsize=1)
def _fixed_table(key: int) -> np.ndarray:
    return _shuffled(key, _TABLE, _TABLE)


def _shuffled(seed: int, length: int, head: int) -> np.ndarray:
    """Return the first `head` entries of torch's `randperm(length)` on a CPU, int64 [head], without its loop.

    The loop swaps the entry at place i with one at a random place from i on. So the entry that it puts at place i is
    what stood at that other place: what the last step before with the same other place put there, else its own number.
    """
    steps = np.arange(head)
    others = steps + _random(seed, head) % (length - steps)
    # The last earlier step with the same other place.
    order = np.argsort(others, kind="stable")
    is_same = others[order[1:]] == others[order[:-1]]
    before = np.full(head, -1)
    before[order[1:][is_same]] = order[:-1][is_same]
    # Whose number stands at place i when step i comes: it came from the place of the last step that chose i, and so on.
    swapped = steps[(others < head) & (others > steps)]
    latest = np.full(head, -1)
    np.maximum.at(latest, others[swapped], swapped)
    standing = np.where(latest >= 0, latest, steps)
    while True:
        further = standing[standing]
        if (further == standing).all():
            break
        standing = further
    return np.where(before >= 0, standing[before], others)
