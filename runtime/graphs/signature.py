"""What a graph is to whoever runs it: its tensors, its axes, and every name that one may have; it opens nothing.

Names are those that optimum and transformers.js know. A cache's states are pairs of tensors: what a run reads and what
it gives back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np

# A state that a decoder reads begins with the one, what a run makes of it with the other; CROSS marks those of cross
# attention, which no step changes.
PAST, PRESENT, CROSS = "past_key_values.", "present.", ".encoder."
# What a decoder reads beside its tokens: how many logits to keep, whether there is a past, what the encoder gave.
KEEP, BRANCH = "num_logits_to_keep", "use_cache_branch"
STATES, STATES_MASK = "encoder_hidden_states", "encoder_attention_mask"
TOKENS, MASK, POSITIONS, LOGITS = "input_ids", "attention_mask", "position_ids", "logits"
# The tokens that a pooling counts, where that leaves out those of the prompt; what it makes of them.
POOLED, VECTOR = "pooling_mask", "sentence_embedding"
# What attention reads whose cache stays in place, and the axis of the room that such a cache has.
SEQLENS, TOTAL, CAPACITY = "seqlens_k", "total_sequence_length", "capacity"
# No tensor has this axis: its maximum is how many tokens a row may have before the model rotates all of them otherwise.
SWITCH = "switch"

# What a model reads, told by the name of an input.
KINDS: Mapping[str, str] = {
    TOKENS: "text",
    "pixel_values": "image",
    "flattened_patches": "image",
    "input_features": "audio",
    "input_values": "audio",
}
_BY_TOKEN = ("batch", "sequence")
# The axes of what is read; `channels` and `bins` are fixed sizes, the others dynamic.
INPUT_AXES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys((TOKENS, MASK, POSITIONS, POOLED, "token_type_ids", "decoder_input_ids"), _BY_TOKEN),
    "pixel_values": ("batch", "channels", "height", "width"),
    "flattened_patches": ("batch", "patches"),
    "input_values": ("batch", "samples"),
    "input_features": ("batch", "bins", "frames"),
    **dict.fromkeys((STATES, STATES_MASK), ("batch", "encoder_sequence")),
    KEEP: (),
}
_FIXED = frozenset({"channels", "bins"})
# Configs write 1e30, 2**31 - 1 or sys.maxsize where there is no limit.
_UNBOUNDED = 10**9


@dataclass(frozen=True)
class Tensor:
    """One input or output of a graph: `dtype` is numpy's name, `axes` are fixed sizes or names of dynamic axes.

    numpy has no bfloat16: arrays of such a tensor are its bit patterns in uint16. They may be concatenated, sliced,
    reordered and made of zeros (a cache needs no more), but not computed with.
    """

    name: str
    dtype: str
    axes: tuple[str | int, ...]

    @property
    def is_bits(self) -> bool:
        """Whether its arrays are bit patterns instead of numbers."""
        return self.dtype == "bfloat16"

    @property
    def array_dtype(self) -> np.dtype:
        """The dtype of its arrays."""
        return np.dtype(np.uint16 if self.is_bits else self.dtype)

    def __str__(self) -> str:
        carrier = " (as uint16 bits)" if self.is_bits else ""
        return f"{self.dtype}[{', '.join(map(str, self.axes))}]{carrier}"


@dataclass(frozen=True)
class Axis:
    """The sizes that a named axis may take: `minimum` and, where the model has a limit, `maximum`."""

    minimum: int = 1
    maximum: int | None = None


def is_limit(value: Any) -> TypeGuard[float]:
    """Tell whether a config's value limits a size: absent, null, 0, -1 and what is past counting do not."""
    return isinstance(value, (int, float)) and 1 <= value < _UNBOUNDED


@dataclass(frozen=True)
class Graph:
    """One graph's inputs and outputs, in order."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """What it reads: "text", "image" or "audio", each once, in the order of its inputs."""
        return kinds_of(tensor.name for tensor in self.inputs)


@dataclass(frozen=True)
class View:
    """How the runtime sees a graph of another tool: `graph` is its signature in the runtime's words.

    `skips_padding`: its attention reads rows from their first token on, so that it would misread a mask of padding.
    """

    graph: Graph
    skips_padding: bool = False


def kinds_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return what inputs of these names are: "text", "image" or "audio", each once."""
    return tuple(dict.fromkeys(KINDS[name] for name in names if name in KINDS))


def states_of(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the states among a graph's inputs, by name: whatever a layer keeps, tensor by tensor."""
    return {tensor.name: tensor for tensor in tensors if tensor.name.startswith(PAST)}


def present_of(past: str) -> str:
    """Return the name of the output that gives a state back."""
    return PRESENT + past.removeprefix(PAST)


def past_of(present: str) -> str:
    """Return the name of the input that reads a state again."""
    return PAST + present.removeprefix(PRESENT)


def is_state(name: str) -> bool:
    """Tell whether an input or output is a part of a cache."""
    return name.startswith((PAST, PRESENT))


def dynamic_axes(name: str) -> dict[int, str]:
    """Return the places and names of an input's dynamic axes."""
    return {place: axis for place, axis in enumerate(INPUT_AXES[name]) if axis not in _FIXED}
