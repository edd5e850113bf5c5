"""Layers of a model that differ in their weights only: one of each kind is traced, whatever the depth.

What two layers have in common is read from their modules; that the graph made from few of them is the same model is for
the parity gate to say.
"""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# What a layer knows of its own place.
_PLACES = frozenset({"layer_idx", "layer_id", "layer_number"})
_PLAIN = (bool, int, float, str, tuple, type(None))


@dataclass(frozen=True)
class Stack:
    """A list of layers of one class, run one after the other.

    Attributes
    ----------
    path
        Its name in the model, such as `model.layers`, which is what its weights' names begin with.
    layers
        All of them.
    templates
        For each layer the traced one that it is like: itself, for the first `traced` ones.

    """

    path: str
    layers: nn.ModuleList
    templates: tuple[int, ...]

    @property
    def traced(self) -> int:
        """How many of the first layers hold one of each kind."""
        return 1 + max(self.templates)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters and buffers of all layers, by their names in the model."""
        named = (
            *self.layers.named_parameters(remove_duplicate=False),
            *self.layers.named_buffers(remove_duplicate=False),
        )
        return {f"{self.path}.{name}": tensor.detach() for name, tensor in named}


def find_stacks(model: nn.Module) -> list[Stack]:
    """Return the stacks of which not all layers need to be traced."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    found: list[Stack] = []
    for path, module in model.named_modules():
        inner = any(path.startswith(f"{stack.path}.") for stack in found)
        if inner or not isinstance(module, nn.ModuleList) or len({type(layer) for layer in module}) != 1:
            continue
        if isinstance(module[0], GradientCheckpointingLayer):
            found.append(Stack(path, module, _templates(module)))
    return [stack for stack in found if stack.traced < len(stack.layers)]


@contextlib.contextmanager
def cut(stacks: list[Stack]) -> Iterator[None]:
    """Leave only the layers that are traced in the model, for a while."""
    whole = [dict(stack.layers._modules) for stack in stacks]  # noqa: SLF001 - nn.Module has no other way to put them back
    try:
        for stack in stacks:
            del stack.layers[stack.traced :]
        yield
    finally:
        for stack, modules in zip(stacks, whole, strict=True):
            stack.layers._modules.update(modules)  # noqa: SLF001


def cut_cache(value: Any, stacks: list[Stack]) -> Any:
    """Return a cache with the keys and values of the layers that are traced; anything else as it is."""
    if hasattr(value, "is_updated"):
        caches = (value.self_attention_cache, value.cross_attention_cache)
        return type(value)(*(cut_cache(cache, stacks) for cache in caches))
    layers = getattr(value, "layers", None)
    # Of an encoder and a decoder of one depth the decoder, which comes last, has the cache.
    found = [stack for stack in stacks if isinstance(layers, list) and len(stack.layers) == len(layers)]
    if not found or layers is None:
        return value
    fewer = copy.copy(value)
    fewer.layers = layers[: found[-1].traced]
    return fewer


def _templates(layers: nn.ModuleList) -> tuple[int, ...]:
    """Return which layer each is like. The first has no other before it, so it stands for itself alone."""
    kinds: dict[tuple[Any, ...], int] = {}
    return (0, *(kinds.setdefault(_kind(layers[index]), index) for index in range(1, len(layers))))


def _kind(layer: nn.Module) -> tuple[Any, ...]:
    """Return what a layer computes, as far as its modules say: classes, settings, and shapes of weights."""
    settings = [
        (
            name,
            type(module),
            tuple(sorted((key, repr(value)) for key, value in vars(module).items() if _counts(key, value))),
        )
        for name, module in layer.named_modules()
    ]
    tensors = (*layer.named_parameters(), *layer.named_buffers())
    return (*settings, *((name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors))


def _counts(name: str, value: Any) -> bool:
    return name not in _PLACES and isinstance(value, _PLAIN)
