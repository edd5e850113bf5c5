"""Activation functions by the names of torch.nn's classes, on numpy arrays."""

from collections.abc import Callable, Mapping

import numpy as np

from ..errors import UnsupportedError
from ..numerics import sigmoid
from .labels import identity


def _relu(logits: np.ndarray) -> np.ndarray:
    return np.maximum(logits, 0)


def _softplus(logits: np.ndarray) -> np.ndarray:
    return np.logaddexp(logits, np.zeros((), logits.dtype))


ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Identity": identity,
    "Sigmoid": sigmoid,
    "Tanh": np.tanh,
    "ReLU": _relu,
    "Softplus": _softplus,
}


def activation_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function of a class, by its name or its dotted one; raise UnsupportedError for another."""
    module, _, kind = name.rpartition(".")
    if kind not in ACTIVATIONS or not (module in {"", "torch"} or module.startswith("torch.")):
        raise UnsupportedError(f"the activation '{name}' is not supported (supported: {', '.join(ACTIVATIONS)})")
    return ACTIVATIONS[kind]
