"""A decoder whose cache grows: every run takes all keys and values so far and gives them back with the new ones.

It is what a portable graph offers, on any provider. Shorter prompts are padded on the left and masked.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import numpy as np

from ...errors import UsageError
from ...graphs.signature import BRANCH, CROSS, KEEP, LOGITS, MASK, POSITIONS, TOKENS, present_of, states_of
from ...sessions.base import Value, on_host
from ..base import Decoding

if TYPE_CHECKING:
    from ...graphs.signature import Tensor
    from ...sessions.model import Model


class GrowingDecoding(Decoding):
    """A portable decoder graph, bound to the cache of one call.

    `first` is the graph of the first step, where that is another one; `constants` are inputs [rows, ...] that every
    step reads again: what an encoder gave. Keys and values of cross attention that the first step makes join them.
    """

    def __init__(
        self, model: "Model", first: "Model | None" = None, constants: Mapping[str, np.ndarray] = MappingProxyType({})
    ) -> None:
        self._session, self._first = model.session, first.session if first else model.session
        self._constants: dict[str, Value] = dict(self._session.placed(constants))
        self.has_encoder = bool(constants)
        # Rows of one input share what was computed from it.
        self._origin = np.arange(len(next(iter(constants.values()), ())))
        inputs = {tensor.name: tensor for session in (self._first, self._session) for tensor in session.inputs}
        cached = {name: state for name, state in states_of(inputs.values()).items() if name not in constants}
        self._past = {name: tensor for name, tensor in cached.items() if CROSS not in name}
        self._cross = {name: tensor for name, tensor in cached.items() if CROSS in name}
        self._takes_mask, self._takes_positions = MASK in inputs, POSITIONS in inputs
        self._takes_branch = BRANCH in inputs
        self._must_keep = KEEP in inputs
        self._keeps = self._must_keep or any(tensor.name == KEEP for tensor in self._session.optional)
        # What others trace for the steps after the first takes one token at a time.
        self._by_one = first is not None or (self._takes_branch and not self._keeps)
        logits = next(tensor for tensor in self._session.outputs if tensor.name == LOGITS)
        self.vocabulary = int(logits.axes[-1])
        limit = model.axes.get("total")
        self.capacity = limit.maximum if limit else None
        self._presents = [present_of(name) for name in cached]
        self._cache: dict[str, Value] = {}
        self._mask = np.zeros((0, 0), np.int64)
        self._lengths = np.zeros(0, np.int64)

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        if not self._mask.shape[1]:
            ids, mask = left_padded(tokens)
            if not (self._takes_mask or mask.all()):
                raise UsageError("this decoder accepts prompts of one length only: run them with batch_size=1")
            return self._run(ids, mask, keep)
        ids = np.asarray(tokens, np.int64)
        mask = np.concatenate([self._mask, np.ones_like(ids)], axis=1)
        if ids.shape[1] == 1 or not self._by_one:
            return self._run(ids, mask, keep)
        check_capacity(mask.sum(1), self.capacity)
        held = self._mask.shape[1]
        logits = [self._run(ids[:, i : i + 1], mask[:, : held + i + 1], 1).copy() for i in range(ids.shape[1])]
        return np.concatenate(logits, axis=1)[:, -(keep or 0) :]

    def _run(self, ids: np.ndarray, mask: np.ndarray, keep: int | None) -> np.ndarray:
        """Run new tokens of every row; `mask` [rows, held and new] is that of all tokens."""
        lengths, is_first = mask.sum(1), not self._mask.shape[1]
        check_capacity(lengths, self.capacity)
        session = self._first if is_first else self._session
        if is_first:
            self._cache = self._empty(self._past, len(ids))
        cross = self._empty(self._cross, len(ids)) if is_first else {}
        feeds: dict[str, Value] = {TOKENS: ids, **self._constants, **cross, **self._cache}
        if self._takes_mask:
            feeds[MASK] = mask
        if self._takes_branch:
            feeds[BRANCH] = np.array([not is_first])
        if self._takes_positions:
            feeds[POSITIONS] = np.maximum(lengths[:, None] + np.arange(-ids.shape[1], 0), 0)
        if self._must_keep or (self._keeps and keep != 1):
            feeds[KEEP] = np.array(keep or 0, np.int64)
        if self._first is not self._session:  # a pair: each reads less than both
            feeds = {tensor.name: feeds[tensor.name] for tensor in session.inputs}
        outputs = session.run_keeping(feeds, self._presents)
        self._mask, self._lengths = mask, lengths
        self._cache = {name: outputs[present_of(name)] for name in self._past}
        if is_first and self._cross:
            made = {name: outputs[present_of(name)] for name in self._cross}
            self._constants = {**self._constants, **made}
        logits = on_host(outputs[LOGITS])
        return logits if self._keeps or keep is None else logits[:, -keep:]

    def _empty(self, tensors: Mapping[str, "Tensor"], rows: int) -> dict[str, Value]:
        """Return keys and values of no token."""
        sizes: dict[str | int, int] = {"batch": rows, "past": 0, "encoder_sequence": 0}
        return {
            name: np.zeros([int(sizes.get(axis, axis)) for axis in tensor.axes], tensor.array_dtype)
            for name, tensor in tensors.items()
        }

    def select(self, rows: np.ndarray) -> None:
        self._cache = {name: on_host(value)[rows] for name, value in self._cache.items()}
        if len(self._lengths):  # before the first tokens only what the encoder gave has rows
            self._mask, self._lengths = self._mask[rows], self._lengths[rows]
        if self._constants and not np.array_equal(origin := self._origin[rows], self._origin):
            moved = {name: on_host(value)[rows] for name, value in self._constants.items()}
            self._constants = dict(self._session.placed(moved))
            self._origin = origin

    def truncate(self, length: int) -> None:
        kept = np.minimum(self._lengths, length)
        dropped, width = self._lengths - kept, int(kept.max(initial=0))
        if not dropped.any():
            return
        # Rows end in one column: what remains of each moves to the right until it does again.
        columns = np.maximum(self._mask.shape[1] - dropped[:, None] + np.arange(-width, 0), 0)
        rows = np.arange(len(kept))[:, None]
        for name, value in self._cache.items():
            moved = on_host(value).swapaxes(1, 2)[rows, columns].swapaxes(1, 2)
            self._cache = {**self._cache, name: np.ascontiguousarray(moved)}
        self._mask = (np.arange(-width, 0) >= -kept[:, None]).astype(np.int64)
        self._lengths = kept

    def clone(self) -> Self:
        return copy(self)  # values are replaced, never written into


def left_padded(tokens: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ragged rows as ids and mask, int64 [rows, longest], the shorter ones padded on the left."""
    longest = max(map(len, tokens))
    ids = np.zeros((len(tokens), longest), np.int64)
    mask = np.zeros_like(ids)
    for row, values in enumerate(tokens):
        ids[row, longest - len(values) :] = values
        mask[row, longest - len(values) :] = 1
    return ids, mask


def check_capacity(lengths: np.ndarray, capacity: int | None) -> None:
    """Raise UsageError if a row would hold more tokens than the model has room for."""
    if capacity is not None and lengths.max(initial=0) > capacity:
        raise UsageError(
            f"{lengths.max()} tokens, prompt and answer together, exceed the {capacity} that this model accepts: "
            "shorten the prompt, or lower max_new_tokens"
        )
