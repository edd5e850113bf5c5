"""A decoder whose cache grows: every run takes all keys and values so far and gives them back with the new ones.

It is what a portable graph offers, on any provider. Shorter prompts are padded on the left and masked.
"""

from collections.abc import Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

import numpy as np

from ..errors import UsageError
from .base import Decoding

if TYPE_CHECKING:
    from ..model import Model

PAST, PRESENT, KEEP, BRANCH = "past_key_values.", "present.", "num_logits_to_keep", "use_cache_branch"


class GrowingDecoding(Decoding):
    """A portable decoder graph, bound to the cache of one call.

    `constants` are inputs [rows, ...] that every step reads again: what an encoder gave.
    """

    def __init__(self, model: "Model", constants: Mapping[str, np.ndarray] = MappingProxyType({})) -> None:
        self._session = model.session
        self._constants = dict(constants)
        # Rows of one input share what was computed from it.
        self._origin = np.arange(len(next(iter(constants.values()), ())))
        inputs = {tensor.name: tensor for tensor in self._session.inputs}
        self._past = {
            name: tensor for name, tensor in inputs.items() if name.startswith(PAST) and name not in constants
        }
        self._takes_mask, self._takes_positions = "attention_mask" in inputs, "position_ids" in inputs
        self._takes_branch = BRANCH in inputs
        logits = next(tensor for tensor in self._session.outputs if tensor.name == "logits")
        self.vocabulary = int(logits.axes[-1])
        limit = model.axes.get("total")
        self.capacity = limit.maximum if limit else None
        self._cache: dict[str, np.ndarray] = {}
        self._mask = np.zeros((0, 0), np.int64)
        self._lengths = np.zeros(0, np.int64)

    @property
    def lengths(self) -> np.ndarray:
        return self._lengths

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        if self._mask.shape[1]:
            ids = np.asarray(tokens, np.int64)
            mask = np.concatenate([self._mask, np.ones_like(ids)], axis=1)
        else:
            ids, mask = left_padded(tokens)
            if not (self._takes_mask or mask.all()):
                raise UsageError("this decoder takes prompts of one length only")
            self._cache = self._cache or self._empty_cache(len(ids))
        lengths = mask.sum(1)
        check_capacity(lengths, self.capacity)
        feeds = {"input_ids": ids, **self._constants, **self._cache}
        if self._takes_mask:
            feeds["attention_mask"] = mask
        if self._takes_branch:
            feeds[BRANCH] = np.array([len(self._lengths) > 0])
        if self._takes_positions:
            feeds["position_ids"] = np.maximum(lengths[:, None] + np.arange(-ids.shape[1], 0), 0)
        if keep != 1:
            feeds[KEEP] = np.array(keep or 0, np.int64)
        outputs = self._session.run(feeds, checked=False)
        self._mask, self._lengths = mask, lengths
        self._cache = {name: outputs[PRESENT + name.removeprefix(PAST)] for name in self._past}
        return outputs["logits"]

    def _empty_cache(self, rows: int) -> dict[str, np.ndarray]:
        sizes: dict[str | int, int] = {"batch": rows, "past": 0, "encoder_sequence": 0}
        return {
            name: np.zeros([int(sizes.get(axis, axis)) for axis in tensor.axes], tensor.array_dtype)
            for name, tensor in self._past.items()
        }

    def select(self, rows: np.ndarray) -> None:
        self._cache = {name: value[rows] for name, value in self._cache.items()}
        self._mask, self._lengths = self._mask[rows], self._lengths[rows]
        if self._constants and not np.array_equal(origin := self._origin[rows], self._origin):
            self._constants = {name: value[rows] for name, value in self._constants.items()}
            self._origin = origin

    def truncate(self, length: int) -> None:
        kept = np.minimum(self._lengths, length)
        dropped, width = self._lengths - kept, int(kept.max(initial=0))
        if not dropped.any():
            return
        # Rows end in one column: what remains of each moves to the right until it does again.
        columns = np.maximum(self._mask.shape[1] - dropped[:, None] + np.arange(-width, 0), 0)
        rows = np.arange(len(kept))[:, None]
        for name, tensor in self._past.items():
            if "past" in tensor.axes:  # what is kept of an encoder has another length
                moved = self._cache[name].swapaxes(1, 2)[rows, columns].swapaxes(1, 2)
                self._cache = {**self._cache, name: np.ascontiguousarray(moved)}
        self._mask = (np.arange(-width, 0) >= -kept[:, None]).astype(np.int64)
        self._lengths = kept

    def clone(self) -> Self:
        return copy(self)  # arrays are replaced, never written into


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
            f"{lengths.max()} tokens, prompt and answer together, are more than the {capacity} that this model takes: "
            "shorten the prompt, or lower max_new_tokens"
        )
