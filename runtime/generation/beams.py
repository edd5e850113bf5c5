"""Beam search and beam sampling: the answers of the highest score, several of which are followed at once.

Scores and stopping are those of transformers 5.23, in float32, but a prompt's beams depend on no other prompt of the
batch: a prompt that is done leaves the decoder.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .base import Decoding, Processor, Stop
from .rows import left_aligned
from .rules.warpers import kth_largest

# (accumulated scores float32 [prompts, choices], how many) -> the places of the chosen ones, int64 [prompts, how many].
Pick = Callable[[np.ndarray, int], np.ndarray]

# The score of a beam that must not win; more would be infinite in sums, so it is transformers' own.
_OUT = np.float32(-1e9)


@dataclass(frozen=True)
class BeamSettings:
    """What beam search is asked for.

    Attributes
    ----------
    beams
        How many beams every prompt has.
    endings
        How many tokens end a sequence; there are candidates enough that beams go on when all of them are likely.
    length_penalty
        A finished answer's log probability is divided by its number of tokens to the power of this.
    early_stopping
        True: done with as many finished answers as beams; False: once the running ones look unable to win at their
        present length; "never": once they cannot win at any length.
    kept
        Prompts that are done stay in the decoder, because something goes by the number of a row.

    """

    beams: int
    endings: int
    limit: int
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    kept: bool = False

    @property
    def candidates(self) -> int:
        """How many continuations of a prompt are looked at per token."""
        return max(2, 1 + self.endings) * self.beams


class Beams:
    """The beams of all prompts, running and finished.

    Attributes
    ----------
    running
        The numbers of the rows that `ids` holds, int64 [rows]; a prompt's beams follow one another.
    total
        How many rows there were.

    """

    def __init__(self, prompts: Sequence[np.ndarray], settings: BeamSettings) -> None:
        self._settings = settings
        ids, self._width = left_aligned(prompts)
        self._ids = np.repeat(ids[:, None], settings.beams, axis=1)
        self._starts = [self._width - len(prompt) for prompt in prompts]
        self._prompts = np.arange(len(prompts))
        shape = (len(prompts), settings.beams)
        self.total = len(prompts) * settings.beams
        self._scores = np.full(shape, _OUT)
        self._scores[:, 0] = 0  # the beams of a prompt begin alike: only one of them may be continued
        self._finished_scores = np.full(shape, _OUT)
        self._is_finished = np.zeros(shape, bool)
        self._finished = [[prompt] * settings.beams for prompt in prompts]
        self._done = np.zeros(len(prompts), bool)

    @property
    def running(self) -> np.ndarray:
        return (self._prompts[:, None] * self._settings.beams + np.arange(self._settings.beams)).ravel()

    @property
    def ids(self) -> np.ndarray:
        """Prompts and answers of all running beams, int64 [rows, length]; before shorter prompts stands PADDING."""
        return self._ids.reshape(-1, self.length)

    @property
    def length(self) -> int:
        return self._ids.shape[2]

    def advance(self, logprobs: np.ndarray, pick: Pick, stop: Stop) -> np.ndarray:
        """Continue by the token that `pick` finds; return which rows the new rows go on from, int64 [rows].

        `logprobs` [rows, vocabulary] are those of the next token; they are written into.
        """
        beams, vocabulary = self._settings.beams, logprobs.shape[-1]
        logprobs += self._scores.reshape(-1, 1)
        sums = logprobs.reshape(len(self._prompts), -1)
        places = pick(sums, self._settings.candidates)
        scores = np.take_along_axis(sums, places, axis=1)
        origins = places // vocabulary
        candidates = np.concatenate([take(self._ids, origins), (places % vocabulary)[:, :, None]], axis=2)
        flat = candidates.reshape(-1, candidates.shape[2])
        ends = np.logical_or(stop(flat), flat.shape[1] >= self._settings.limit).reshape(scores.shape)
        self._finish(candidates, scores, ends)
        going = scores + np.where(ends, _OUT, np.float32(0))
        best = best_places(going, beams)
        self._ids, self._scores = take(candidates, best), np.take_along_axis(going, best, axis=1)
        return self._leave(np.all(ends, axis=1), np.take_along_axis(origins, best, axis=1))

    def _finish(self, candidates: np.ndarray, scores: np.ndarray, ends: np.ndarray) -> None:
        """Put the candidates that end, if they are among the best, in the place of finished ones of lower score."""
        beams = self._settings.beams
        new = ends[:, :beams] & ~self._done[self._prompts][:, None]
        tokens = candidates.shape[2] - self._width
        penalized = scores[:, :beams] / np.float32(tokens**self._settings.length_penalty)
        for item in np.flatnonzero(new.any(axis=1)):
            prompt = self._prompts[item]
            start = self._starts[prompt]
            merged = np.concatenate([self._finished_scores[prompt], np.where(new[item], penalized[item], _OUT + _OUT)])
            best = best_places(merged[None], beams)[0]
            sequences = [*self._finished[prompt], *(row[start:] for row in candidates[item, :beams])]
            self._finished[prompt] = [sequences[place].copy() for place in best]
            self._finished_scores[prompt] = merged[best]
            self._is_finished[prompt] = np.concatenate([self._is_finished[prompt], new[item]])[best]

    def _leave(self, stuck: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """Let prompts go that are done; return the rows that those of the others go on from."""
        full = self._is_finished[self._prompts].all(axis=1)
        worst = np.where(full, self._finished_scores[self._prompts].min(axis=1), _OUT)
        early = self._settings.early_stopping
        done = stuck | ~(self._best_hopes() > worst) | ((early is True) & full)
        self._done[self._prompts] |= done
        going = np.arange(len(done)) if self._settings.kept else np.flatnonzero(~done)
        rows = np.arange(len(done))[:, None] * self._settings.beams + origins
        self._prompts, self._ids, self._scores = self._prompts[going], self._ids[going], self._scores[going]
        return rows[going].ravel()

    def _best_hopes(self) -> np.ndarray:
        """Return the highest score that a running beam of each prompt may still get, as `early_stopping` assumes it."""
        penalty = self._settings.length_penalty
        farthest = self._settings.early_stopping == "never" and penalty > 0
        length = (self._settings.limit if farthest else self.length) - self._width
        return self._scores[:, 0] / np.float32(length**penalty)

    @property
    def all_done(self) -> bool:
        return bool(self._done.all())

    def best(self, count: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the `count` best answers of every prompt, prompts included, and their scores, best first."""
        sequences = [sequence for found in self._finished for sequence in found[:count]]
        return sequences, self._finished_scores[:, :count].ravel()


def search(
    decoding: Decoding,
    beams: Beams,
    logits: np.ndarray,
    *,
    process: Processor,
    pick: Pick,
    stop: Stop,
) -> Iterator[int]:
    """Continue beams token by token until all prompts are done, yielding the length of the running ones.

    `logits` [rows, vocabulary] are those after the prompts; `process` makes log probabilities of a decoder's logits.
    """
    while True:
        origins = beams.advance(process(beams.ids, logits), pick, stop)
        yield beams.length
        if beams.all_done:
            return
        if len(origins) != len(logits) or (origins != np.arange(len(origins))).any():
            decoding.select(origins)
        logits = decoding.append(np.ascontiguousarray(beams.ids[:, -1:]))[:, -1]


def take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return `values` [prompts, n, length] at `places` [prompts, m], as [prompts, m, length]."""
    return values[np.arange(len(values))[:, None], places]


def best_places(scores: np.ndarray, count: int) -> np.ndarray:
    """Return where the `count` highest scores are, best first, int64 [prompts, count]."""
    return np.stack([_best(row, count) for row in scores])


def _best(row: np.ndarray, count: int) -> np.ndarray:
    found = np.flatnonzero(~(row < kth_largest(row, count)))  # so that NaN is found too
    return found[np.argsort(-row[found], kind="stable")[:count]]
