"""What generation writes down on its way, when asked: logits, scores and log probabilities, as steps of the loop."""

from typing import Protocol

import numpy as np

from ..numerics import log_softmax
from .base import Processor


class Frame(Protocol):
    """Which of a call's rows run: `running` int64 [rows] are the numbers of those, of `total`."""

    total: int

    @property
    def running(self) -> np.ndarray: ...


def keeping(found: list[np.ndarray], frame: Frame) -> Processor:
    """Return a processor that changes nothing and puts a copy of the scores of all rows into `found`."""

    def keep(ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        del ids
        found.append(whole(scores, frame.running, frame.total))
        return scores

    return keep


def whole(values: np.ndarray, running: np.ndarray, total: int) -> np.ndarray:
    """Return a copy of what the running rows have, [total, ...]; rows that left have NaN."""
    if len(running) == total:
        return values.copy()
    found = np.full((total, *values.shape[1:]), np.nan, values.dtype)
    found[running] = values
    return found


class Logprobs:
    """The log probability of every token that was chosen, row by row."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._now = np.zeros((0, 0), np.float32)
        self._found: list[list[float]] = [[] for _ in range(frame.total)]

    def weigh(self, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Take notice of the scores that the next tokens are chosen by: a processor that changes nothing."""
        del ids
        self._now = log_softmax(scores)
        return scores

    def choose(self, tokens: np.ndarray) -> None:
        """Take notice of the tokens that were chosen, int64 [rows]."""
        values = self._now[np.arange(len(tokens)), tokens]
        for row, value in zip(self._frame.running, values, strict=True):
            self._found[row].append(value)

    def of_sequences(self, lengths: list[int]) -> list[np.ndarray]:
        """Return those of every row's first tokens, float32 [tokens]; what follows is padding."""
        return [np.array(row[:length], np.float32) for row, length in zip(self._found, lengths, strict=True)]
