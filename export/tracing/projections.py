"""Find the linear layers that make the keys and values of cross attention, by watching the model work.

They are those whose output, or some columns of it, cut into heads, is exactly a tensor of the cache; names of modules
play no part.
"""

from typing import Any

import numpy as np
import torch

from ...runtime.errors import ExportError
from ..passes.portable.split_cross_attention import Projection


def find_projections(model: Any, inputs: dict[str, torch.Tensor], cache_of: Any) -> list[Projection]:
    """Return a projection for every tensor of the cross attention's cache, in the cache's order.

    `cache_of` runs the model on `inputs` and returns (the cache, the encoder's last hidden state).
    Raises ExportError if a tensor of the cache is not a linear function of the encoder's last hidden state.
    """
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    seen: list[tuple[torch.nn.Module, torch.Tensor, torch.Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda one, given, made: _note(seen, one, given[0], made))
        for module in model.modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
    ]
    try:
        with torch.inference_mode():
            cache, states = cache_of(inputs)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for index, layer in enumerate(cache.cross_attention_cache.layers):
        for part, tensor in (("key", layer.keys), ("value", layer.values)):
            found.append(_projection(f"{index}.encoder.{part}", tensor, seen, states))
    return found


def _note(seen: list[Any], module: torch.nn.Module, given: Any, made: Any) -> None:
    seen.append((module, given, made))


def _projection(name: str, tensor: torch.Tensor, seen: Any, states: torch.Tensor) -> Projection:
    flat = tensor.transpose(1, 2).flatten(2)
    for module, given, made in seen:
        if (start := _columns(made, flat)) is not None:
            weight, bias = _from_states(module, given, seen, states)
            span = slice(start, start + flat.shape[2])
            return Projection(name, weight[:, span], None if bias is None else bias[span], tensor.shape[1])
    raise ExportError(f"the keys and values of cross attention ({name}) are not a linear layer's output")


def _columns(made: torch.Tensor, flat: torch.Tensor) -> int | None:
    """Return where in a layer's output [batch, sequence, wide] the columns of `flat` begin; one may make several."""
    width = flat.shape[2]
    if made.shape[-1] % width or made[..., :width].numel() != flat.numel():
        return None
    parts = made.reshape(*flat.shape[:2], -1).split(width, dim=2)
    return next((width * index for index, part in enumerate(parts) if torch.equal(part, flat)), None)


def _from_states(
    module: Any, given: torch.Tensor, seen: Any, states: torch.Tensor
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return weight [in, out] and bias from the encoder's states, through a layer before where there is one."""
    weight, bias = _parameters(module)
    if given.shape == states.shape and torch.equal(given, states):
        return weight, bias
    for before, source, made in seen:
        if before is not module and made is given and source.shape == states.shape and torch.equal(source, states):
            first, shift = _parameters(before)
            moved = 0 if shift is None else shift.astype(np.float64) @ weight
            total = np.broadcast_to(moved + (0 if bias is None else bias), weight.shape[1:])
            return (first.astype(np.float64) @ weight).astype(np.float32), total.astype(np.float32)
    raise ExportError("cross attention reads something else than the encoder's last hidden state")


def _parameters(module: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a linear layer's weight [in, out] and bias."""
    weight = module.weight.detach().numpy()
    return (
        weight.T if isinstance(module, torch.nn.Linear) else weight,
        None if module.bias is None else module.bias.detach().numpy(),
    )
