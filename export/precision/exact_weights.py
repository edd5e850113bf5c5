"""Weights that stay float32 in a half-precision graph, because transformers' model class says that they must."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir


def exact_weights(model: Any, graph: ir.Graph, dtype: ir.DataType) -> frozenset[str]:
    """Return the names of the initializers that a model of transformers keeps in float32 where the rest is `dtype`.

    A graph has its own names of parameters, and may hold them transposed, so their numbers are compared.
    """
    named = set(model._keep_in_fp32_modules_strict or ())  # noqa: SLF001 - transformers has no public name for it
    if dtype == ir.DataType.FLOAT16:
        named |= set(model._keep_in_fp32_modules or ())  # noqa: SLF001
    kept = {
        digest
        for name, parameter in model.named_parameters()
        if any(f".{module}." in f".{name}." for module in named)
        for digest in _digests(parameter.detach().numpy())
    }
    return frozenset(
        name
        for name, value in graph.initializers.items()
        if kept and value.dtype == ir.DataType.FLOAT and (tensor := value.const_value) is not None
        if _digest(tensor.numpy()) in kept
    )


def _digests(numbers: np.ndarray) -> Iterator[str]:
    yield _digest(numbers)
    if numbers.ndim > 1:
        yield _digest(numbers.T)


def _digest(numbers: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(numbers).data).hexdigest()
