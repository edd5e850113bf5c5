"""A decoder whose model rotates all tokens otherwise once a row is long: its cache is then computed anew.

So does `generate` of transformers' Phi-3, token by token. It keeps the ids of every row for that.
"""

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np

from ...errors import UsageError
from ..base import Decoding
from .growing import check_capacity


class SwitchingDecoding(Decoding):
    """A decoding, and the number of tokens `at` which rows still are short.

    `apart`: it runs rows of different lengths by themselves, so that some would be short and others long.
    """

    def __init__(self, decoding: Decoding, at: int, *, apart: bool) -> None:
        self._decoding, self._at, self._apart = decoding, at, apart
        self.vocabulary, self.capacity = decoding.vocabulary, decoding.capacity
        self._rows: list[np.ndarray] = []
        self._is_long = False

    @property
    def lengths(self) -> np.ndarray:
        return self._decoding.lengths

    def reserve(self, tokens: int) -> None:
        self._decoding.reserve(tokens)

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        held, most = self._held(), max(map(len, tokens))
        short = self._at - held
        if not held or not 0 < short < most:
            return self._append(tokens, keep)
        # Guesses on both sides: each token is answered as if it had come alone.
        ids = np.asarray(tokens, np.int64)
        parts = [self._append(part, None).copy() for part in (ids[:, :short], ids[:, short:])]
        return np.concatenate(parts, axis=1)[:, -(keep or 0) :]

    def _append(self, tokens: Sequence[np.ndarray] | np.ndarray, keep: int | None) -> np.ndarray:
        """Run new tokens that are all on one side, after all those before if the cache is of the other."""
        held = self._held()
        rows = [np.asarray(row, np.int64) for row in tokens]
        if held:
            rows = [np.concatenate(pair) for pair in zip(self._rows, rows, strict=True)]
        lengths = np.array([len(row) for row in rows])
        is_long = bool(lengths.max() > self._at)
        check_capacity(lengths, self.capacity)
        if is_long and self._apart and lengths.min() <= self._at:
            raise UsageError(
                f"rows of {lengths.min()} and {lengths.max()} tokens: this model computes those beyond {self._at} "
                "otherwise, and a batch has to be on one side: run them with batch_size=1"
            )
        if held and is_long != self._is_long:
            self._decoding.truncate(0)
            logits = self._decoding.append(rows, keep=len(tokens[0]) if keep is None else keep)
        else:
            logits = self._decoding.append(tokens, keep=keep)
        self._rows, self._is_long = rows, is_long
        return logits

    def _held(self) -> int:
        return max(map(len, self._rows), default=0)

    def select(self, rows: np.ndarray) -> None:
        self._decoding.select(rows)
        self._rows = [self._rows[row] for row in rows] if self._rows else []

    def truncate(self, length: int) -> None:
        self._decoding.truncate(length)
        self._rows = [row[:length] for row in self._rows]

    def clone(self) -> Self:
        other = copy(self)
        other._decoding = self._decoding.clone()  # noqa: SLF001 - of its own class
        return other
