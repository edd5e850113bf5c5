"""The contract of generation: what the token loop knows of a decoder, and the shapes of its replaceable parts.

The loop, its processors and its stopping criteria work on numpy arrays alone and know neither graph nor session.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np

# What stands before a shorter row of `ids`; it is no token, so no processor counts it.
PADDING = -1

# (ids int64 [rows, length], scores float32 [rows, vocabulary]) -> scores. `ids` holds prompt and answer; rows that are
# shorter begin with PADDING. It may write into the scores it is given.
Processor = Callable[[np.ndarray, np.ndarray], np.ndarray]

# (ids int64 [rows, length]) -> bool [rows]: the rows that are finished. `ids` as above, its last column is new.
Stop = Callable[[np.ndarray], np.ndarray]


class Decoding(ABC):
    """A decoder with the keys and values of the rows of one call: a cache bound to a session.

    It belongs to one call, and so to one thread; sessions are shared. Rows may be selected, and it may be truncated and
    cloned, before the first `append` too: then only what an encoder gave has rows.

    Attributes
    ----------
    vocabulary
        How many logits a token has.
    capacity
        The most tokens that a row may hold, None where the model has no such limit.
    has_encoder
        Whether its rows go by what an encoder read, beside their own tokens.

    """

    vocabulary: int
    capacity: int | None
    has_encoder: bool = False

    @property
    @abstractmethod
    def lengths(self) -> np.ndarray:
        """How many tokens each row holds, int64 [rows]; before the first `append` no row is there."""

    @abstractmethod
    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        """Run new tokens of every row after those it holds.

        Parameters
        ----------
        tokens
            int64 [rows, new]; on the first call also a sequence of 1-D arrays, one a row, of any lengths above zero.
        keep
            The logits wanted: of the last `keep` tokens of every row; None for all, which asks for equal lengths.

        Returns
        -------
        logits
            float32 [rows, kept, vocabulary]; the caller may write into it, and the next `append` may reuse it.

        Raises
        ------
        UsageError
            A row would hold more than `capacity` tokens.

        """

    def reserve(self, tokens: int) -> None:  # noqa: B027 - a hint: what grows by itself needs none
        """Make room for rows of `tokens` tokens, so that the cache need not grow on the way."""

    @abstractmethod
    def select(self, rows: np.ndarray) -> None:
        """Make row i go on from what row `rows[i]` holds (int64 [any number]): beams reorder, finished rows leave."""

    @abstractmethod
    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens of every row."""

    @abstractmethod
    def clone(self) -> Self:
        """Return a copy that goes its own way."""
