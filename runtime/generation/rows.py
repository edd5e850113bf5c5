"""The token ids of the rows of one call, which of them still run, and where the others ended."""

from collections.abc import Sequence

import numpy as np

from .base import PADDING

_FIRST_ROOM = 64


class Rows:
    """Prompts and what was written after them, in a buffer that doubles when it is full.

    Finished rows leave, unless they are `kept` because something goes by the number of a row: then they go on with pad
    tokens, which are no part of their sequence.

    Attributes
    ----------
    running
        The numbers of the rows that `ids` holds, int64 [rows].
    total
        How many rows there were.
    room
        How many tokens may still follow.

    """

    def __init__(self, prompts: Sequence[np.ndarray], *, limit: int, pad: int, kept: bool) -> None:
        self.total = len(prompts)
        self.running = np.arange(self.total)
        self._ids, self._length = left_aligned(prompts, spare=_FIRST_ROOM)
        self._starts = [self._length - len(prompt) for prompt in prompts]
        self._limit, self._pad, self._kept = limit, pad, kept
        self._ended = np.zeros(self.total, bool)
        self._sequences: list[np.ndarray | None] = [None] * self.total

    @property
    def ids(self) -> np.ndarray:
        """Prompts and answers, int64 [rows, length]; what stands before shorter prompts is PADDING."""
        return self._ids[:, : self._length]

    @property
    def lengths(self) -> list[int]:
        """How many tokens each of the running rows has now."""
        return [self._length - self._starts[row] for row in self.running]

    @property
    def room(self) -> int:
        return self._limit - self._length

    def append(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to every row, and return it: a pad token where the row has ended."""
        if self._kept and self._ended.any():
            tokens = np.where(self._ended, self._pad, tokens)
        if self._length == self._ids.shape[1]:
            self._ids = np.concatenate([self._ids, np.empty_like(self._ids)], axis=1)
        self._ids[:, self._length] = tokens
        self._length += 1
        return tokens

    def end(self, finished: np.ndarray) -> np.ndarray | None:
        """End rows of `ids`, bool [rows]; return the places of those that go on, None where all have ended."""
        for place in np.flatnonzero(finished):
            self._close(int(place))
        if self._kept:
            self._ended |= finished
            return None if self._ended.all() else np.arange(self.total)
        going = np.flatnonzero(~finished)
        if not len(going):
            return None
        self.running, self._ids = self.running[going], self._ids[going]
        return going

    def _close(self, place: int) -> None:
        row = int(self.running[place])
        if self._sequences[row] is None:
            self._sequences[row] = self._ids[place, self._starts[row] : self._length].copy()

    def sequences(self) -> list[np.ndarray]:
        """Return every row, prompt first, int64 [tokens]; those that still run end here."""
        for place in range(len(self.running)):
            self._close(place)
        return [sequence for sequence in self._sequences if sequence is not None]


def left_aligned(prompts: Sequence[np.ndarray], *, spare: int = 0) -> tuple[np.ndarray, int]:
    """Return prompts that end in one column, int64 [rows, longest + spare], and the length of the longest."""
    longest = max(map(len, prompts))
    ids = np.full((len(prompts), longest + spare), PADDING, np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) : longest] = prompt
    return ids, longest
