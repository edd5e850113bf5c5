"""A model that remembers nothing: after each call it is as it was loaded, so no answer depends on those before.

Some forward calls change their modules: they keep a mask, a length, or a kind of attention for the calls to come.
Parameters are left alone and take no memory twice.
"""

import enum
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

# What torch itself keeps in a module, but for what a forward call may change.
_TORCH = frozenset(vars(torch.nn.Module())) - {"_buffers", "_modules", "training"}
_OPAQUE = (type, types.ModuleType, enum.Enum, torch.nn.Parameter, torch.dtype, torch.device)


class Forgetful:
    """A model as a callable, which is asked without gradients."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self._saved = [(holder, {name: _kept(value) for name, value in _state(holder)}) for holder in _holders(model)]

    def __call__(self, **given: Any) -> Any:
        """Call the model; raise whatever it raises."""
        self.restore()
        try:
            with torch.inference_mode():
                return self.model(**given)
        finally:
            self.restore()

    def restore(self) -> None:
        """Undo what calls have changed, in the modules and in the objects that they refer to."""
        for holder, saved in self._saved:
            for name, _ in list(_state(holder)):
                if name not in saved:
                    del vars(holder)[name]
            vars(holder).update({name: _again(value) for name, value in saved.items()})


@dataclass(frozen=True)
class _Tensor:
    """A tensor, and what it contained."""

    tensor: torch.Tensor
    content: torch.Tensor


def _state(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that a call may change."""
    hidden = _TORCH if isinstance(holder, torch.nn.Module) else frozenset()
    yield from ((name, value) for name, value in vars(holder).items() if name not in hidden)


def _holders(model: torch.nn.Module) -> list[Any]:
    """Return the model, its modules, and every object that they refer to, such as their config."""
    found: dict[int, Any] = {}
    waiting: list[Any] = [model]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif id(value) not in found and _is_holder(value):
            found[id(value)] = value
            waiting += (attribute for _, attribute in _state(value))
    return list(found.values())


def _is_holder(value: Any) -> bool:
    if isinstance(value, torch.nn.Module):
        return True
    return hasattr(value, "__dict__") and not isinstance(value, (*_OPAQUE, torch.Tensor)) and not callable(value)


def _kept(value: Any) -> Any:
    """Return what `_again` makes the value of: its containers and tensors are copies, everything else is itself."""
    if isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter):
        return _Tensor(value, value.detach().clone())
    return _copied(value, _kept)


def _again(value: Any) -> Any:
    if isinstance(value, _Tensor):
        unchanged = torch.equal(value.tensor, value.content)
        return value.tensor if unchanged else value.content.clone()
    return _copied(value, _again)


def _copied(value: Any, each: Any) -> Any:
    """Return a copy of a plain container with `each` of its values, and anything else as it is."""
    kind = type(value)
    if kind in {dict, list, set, tuple}:
        return {key: each(item) for key, item in value.items()} if kind is dict else kind(each(item) for item in value)
    return value
