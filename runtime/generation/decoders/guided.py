"""Classifier-free guidance: a decoder that another one, which sees a prompt to stay away from, pushes off.

After "Stay on topic with Classifier-Free Guidance", https://arxiv.org/abs/2306.17806, with logits as log probabilities.
"""

from collections.abc import Sequence
from copy import copy
from typing import Self

import numpy as np

from ...numerics import log_softmax
from ..base import Decoding


class GuidedDecoding(Decoding):
    """Two decoders that get the same new tokens, after prompts of their own."""

    def __init__(
        self, decoding: Decoding, negative: Decoding, *, scale: float, negative_prompts: Sequence[np.ndarray]
    ) -> None:
        self._decoding, self._negative = decoding, negative
        self._scale, self._prompts = scale, negative_prompts
        self._is_started = False
        self.vocabulary, self.capacity = decoding.vocabulary, decoding.capacity

    @property
    def lengths(self) -> np.ndarray:
        return self._decoding.lengths

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        """Return guided log probabilities in place of logits."""
        wished = log_softmax(self._decoding.append(tokens, keep=keep))
        other = tokens if self._is_started else self._prompts
        self._is_started = True
        avoided = log_softmax(self._negative.append(other, keep=keep))
        return self._scale * (wished - avoided) + avoided

    def select(self, rows: np.ndarray) -> None:
        self._decoding.select(rows)
        self._negative.select(rows)
        self._prompts = [self._prompts[row] for row in rows]

    def truncate(self, length: int) -> None:
        """Forget as many tokens of both; where nothing is left, the next ones are prompts again."""
        drop = int(self._decoding.lengths.max(initial=0)) - length
        self._decoding.truncate(length)
        self._is_started = self._is_started and length > 0
        self._negative.truncate(int(self._negative.lengths.max(initial=0)) - drop if self._is_started else 0)

    def clone(self) -> Self:
        other = copy(self)
        other._decoding, other._negative = self._decoding.clone(), self._negative.clone()  # noqa: SLF001 - its own
        return other
