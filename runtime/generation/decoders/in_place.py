"""A decoder whose cache stays where it is: every step writes the new keys and values behind those before.

The buffers have room for more tokens than they hold and are bound to the session once, not at every step. Rows begin
at their first token, so shorter ones need no mask; ONNX Runtime's kernel takes several tokens after
a past in one row only.
"""

from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Self

import numpy as np

from ...graphs.signature import (
    CAPACITY,
    KEEP,
    LOGITS,
    POSITIONS,
    SEQLENS,
    TOKENS,
    TOTAL,
    present_of,
    states_of,
)
from ..base import Decoding
from .growing import check_capacity

if TYPE_CHECKING:
    from ...sessions.model import Model

# Room to begin with, and the least that buffers grow by.
ROOM = 128


class InPlaceDecoding(Decoding):
    """A decoder graph with GroupQueryAttention, bound to buffers [rows, heads, room, size] of one call."""

    def __init__(self, model: "Model") -> None:
        self._session = model.session
        inputs = {tensor.name: tensor for tensor in self._session.inputs}
        self._past = states_of(inputs.values())
        self._takes_positions = POSITIONS in inputs
        logits = next(tensor for tensor in self._session.outputs if tensor.name == LOGITS)
        self.vocabulary = int(logits.axes[-1])
        limit = model.axes.get(CAPACITY) or model.axes.get("total")
        self.capacity = limit.maximum if limit else None
        self._lengths = np.zeros(0, np.int64)
        self._buffers: dict[str, np.ndarray] = {}
        self._room = 0
        self._reserved = 0
        self._step: _Step | None = None

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    def reserve(self, tokens: int) -> None:
        self._reserved = tokens

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        counts = np.array([len(row) for row in tokens], np.int64)
        is_first = not len(self._lengths)
        before = np.zeros_like(counts) if is_first else self._lengths
        after = before + counts
        check_capacity(after, self.capacity)
        self._grow(len(counts), int(after.max()), int(before.max(initial=0)))
        if counts.max() == 1 and not is_first:
            logits = self._stepped(np.asarray(tokens, np.int64), after)
        elif len(counts) == 1 or (is_first and (counts == counts[0]).all()):
            logits = self._run(np.asarray(tokens, np.int64), slice(None), before, after, keep)
        else:
            rows = [
                self._run(np.asarray(row, np.int64)[None], slice(i, i + 1), before[i : i + 1], after[i : i + 1], keep)
                for i, row in enumerate(tokens)
            ]
            logits = np.concatenate(rows)
        self._lengths = after
        return logits

    def _stepped(self, ids: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Run one token of every row, on what is bound."""
        if self._step is None:
            self._step = _Step(self, len(ids))
        return self._step(ids, after)

    def _run(self, ids: np.ndarray, rows: slice, before: np.ndarray, after: np.ndarray, keep: int | None) -> np.ndarray:
        """Run several tokens of some rows, all of one length."""
        kept = ids.shape[1] if keep is None else min(keep, ids.shape[1])
        logits = np.empty((len(ids), kept, self.vocabulary), np.float32)
        buffers = {name: buffer[rows] for name, buffer in self._buffers.items()}
        feeds, outputs = self.arrays(ids, before, after, buffers, logits)
        feeds[KEEP] = np.array(kept, np.int64)
        self._session.bind(feeds, outputs)()
        return logits

    def arrays(
        self, ids: np.ndarray, before: np.ndarray, after: np.ndarray, buffers: dict[str, np.ndarray], logits: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return what a run reads and what it writes, by the graph's names."""
        feeds = {
            TOKENS: np.ascontiguousarray(ids),
            SEQLENS: (after - 1).astype(np.int32),
            TOTAL: np.array(after.max(), np.int32),
            **buffers,
        }
        if self._takes_positions:
            feeds[POSITIONS] = before[:, None] + np.arange(ids.shape[1])
        return feeds, {LOGITS: logits, **{present_of(name): b for name, b in buffers.items()}}

    @property
    def buffers(self) -> dict[str, np.ndarray]:
        """The cache by the names of the graph's inputs, float32 [rows, heads, room, size]."""
        return self._buffers

    def bind(self, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        """Return a function that runs the graph from these arrays into those."""
        return self._session.bind(feeds, outputs)

    def _grow(self, rows: int, needed: int, held: int) -> None:
        """Make room for `needed` tokens, of which `held` are there, doubling what there is."""
        if self._buffers and needed <= self._room:
            return
        room = max(needed, self._reserved, 2 * self._room if self._buffers else needed + ROOM)
        room = -(-room // ROOM) * ROOM
        grown = {}
        for name, tensor in self._past.items():
            _, heads, _, size = tensor.axes
            grown[name] = np.zeros((rows, int(heads), room, int(size)), np.float32)
            if held:
                grown[name][:, :, :held] = self._buffers[name][:, :, :held]
        self._buffers, self._room, self._step = grown, room, None

    def select(self, rows: np.ndarray) -> None:
        if not len(self._lengths) or np.array_equal(rows, np.arange(len(self._lengths))):
            return  # before the first tokens there is nothing to move
        self._lengths = self._lengths[rows]
        held = int(self._lengths.max(initial=0))
        moved = {}
        for name, buffer in self._buffers.items():
            moved[name] = np.zeros((len(rows), *buffer.shape[1:]), buffer.dtype)
            moved[name][:, :, :held] = buffer[rows, :, :held]
        self._buffers, self._step = moved, None

    def truncate(self, length: int) -> None:
        self._lengths = np.minimum(self._lengths, length)

    def clone(self) -> Self:
        other = copy(self)
        vars(other).update(_buffers={name: buffer.copy() for name, buffer in self._buffers.items()}, _step=None)
        return other


class _Step:
    """One token of every row: arrays that are bound once and written into at every step."""

    def __init__(self, decoding: InPlaceDecoding, rows: int) -> None:
        self._logits = np.empty((rows, 1, decoding.vocabulary), np.float32)
        ids, ones = np.zeros((rows, 1), np.int64), np.ones(rows, np.int64)
        self._feeds, outputs = decoding.arrays(ids, ones - 1, ones, decoding.buffers, self._logits)
        self._positions = self._feeds.get(POSITIONS)
        self._run = decoding.bind(self._feeds, outputs)

    def __call__(self, ids: np.ndarray, after: np.ndarray) -> np.ndarray:
        feeds = self._feeds
        feeds[TOKENS][:] = ids
        np.subtract(after, 1, out=feeds[SEQLENS], casting="unsafe")
        feeds[TOTAL][...] = after.max()
        if self._positions is not None:
            self._positions[:, 0] = after - 1
        self._run()
        return self._logits
