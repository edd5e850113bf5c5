"""The modules after pooling: Dense, LayerNorm and Normalize."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Self

import torch

from ...runtime.errors import IntegrityError, UnsupportedError
from .features import VECTOR, Features

_DEFAULT_ACTIVATION = "torch.nn.modules.activation.Tanh"


class Dense(torch.nn.Module):
    """A linear layer with an activation, and with `use_residual` its input beside it."""

    def __init__(self, settings: Mapping[str, Any], activation: torch.nn.Module) -> None:
        super().__init__()
        size, out = int(settings["in_features"]), int(settings["out_features"])
        self.linear = torch.nn.Linear(size, out, bias=bool(settings.get("bias", True)))
        self.activation = activation
        self.source, self.target = _names(settings)
        self.is_residual = bool(settings.get("use_residual", False))
        if self.is_residual and size != out:
            self.residual = torch.nn.Linear(size, out, bias=False)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str) -> Self:
        """Return the layer without its weights."""
        return cls(settings, _activation(str(settings.get("activation_function", _DEFAULT_ACTIVATION)), where))

    def forward(self, features: Features) -> Features:
        """Return the features with its output."""
        given = features[self.source]
        made = self.activation(self.linear(given))
        if self.is_residual:
            made = made + (self.residual(given) if hasattr(self, "residual") else given)
        return {**features, self.target: made}


class LayerNorm(torch.nn.Module):
    """The vector normalized to mean 0 and variance 1, scaled and shifted."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str) -> Self:  # noqa: ARG003 - as the others'
        """Return the layer without its weights."""
        return cls(int(settings["dimension"]))

    def forward(self, features: Features) -> Features:
        """Return the features with the normalized vector."""
        return {**features, VECTOR: self.norm(features[VECTOR])}


class Normalize(torch.nn.Module):
    """The vector scaled to length 1."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.source, self.target = _names(settings)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], where: str) -> Self:  # noqa: ARG003 - as the others'
        """Return the layer."""
        return cls(settings)

    def forward(self, features: Features) -> Features:
        """Return the features with the scaled one; as they are where it is missing, as in sentence-transformers."""
        if self.source not in features:
            return features
        return {**features, self.target: torch.nn.functional.normalize(features[self.source], p=2, dim=-1)}


def _names(settings: Mapping[str, Any]) -> tuple[str, str]:
    source = settings.get("module_input_name") or VECTOR
    return source, settings.get("module_output_name") or source


def _activation(name: str, where: str) -> torch.nn.Module:
    """Return an activation of PyTorch by its dotted name; raise UnsupportedError for any other class."""
    module, _, kind = name.rpartition(".")
    found = None
    if module == "torch" or module.startswith("torch."):
        try:
            found = getattr(importlib.import_module(module), kind, None)
        except ImportError as error:
            raise IntegrityError(f"'{where}' names the activation '{name}', which PyTorch does not have") from error
    if not (inspect.isclass(found) and issubclass(found, torch.nn.Module)):
        raise UnsupportedError(f"the activation '{name}' in '{where}' is not a module of torch.nn")
    return found()
