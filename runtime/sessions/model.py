"""A graph on its session as a callable on numpy arrays; it knows no bundle and no task."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..graphs.signature import Axis
from ..numerics import Row

if TYPE_CHECKING:
    from .base import Session


class Outputs(dict[str, np.ndarray]):
    """A graph's outputs by name, in order; also by attribute and by position, as transformers' outputs."""

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no output '{name}' (outputs: {', '.join(self)})") from None

    def __getitem__(self, key: str | int) -> np.ndarray:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


class Model:
    """A graph on its session: call it with arrays by name, as a transformers model."""

    def __init__(self, session: "Session", axes: Mapping[str, Axis]) -> None:
        self.session = session
        self.axes = axes
        self.input_names = tuple(tensor.name for tensor in session.inputs)

    def __repr__(self) -> str:
        inputs, outputs = (
            ", ".join(f"{tensor.name}: {tensor}" for tensor in tensors)
            for tensors in (self.session.inputs, self.session.outputs)
        )
        return f"{type(self).__name__}({inputs} -> {outputs})"

    def __call__(self, **inputs: Any) -> Outputs:
        """Run the graph; arguments it has no input for are an error, None is as good as absent."""
        feeds = {name: np.asarray(value) for name, value in inputs.items() if value is not None}
        self._check_sizes(feeds)
        return Outputs(self.session.run(feeds))

    def _check_sizes(self, feeds: Row) -> None:
        for tensor in self.session.inputs:
            value = feeds.get(tensor.name)
            if value is None or value.ndim != len(tensor.axes):
                continue  # the session says what is wrong
            for axis, size in zip(tensor.axes, value.shape, strict=True):
                self._check_size(axis, size)

    def _check_size(self, axis: str | int, size: int) -> None:
        limit = self.axes.get(axis) if isinstance(axis, str) else None
        if limit is None:
            return
        if limit.maximum is not None and size > limit.maximum:
            hint = (
                f" Shorten the text, or pass truncation=True, max_length={limit.maximum} (--param truncation=true "
                f"--param max_length={limit.maximum})"
                if axis == "sequence"
                else ""
            )
            raise UsageError(f"'{axis}' is {size}, this model accepts at most {limit.maximum}.{hint}")
        if size < limit.minimum:
            raise UsageError(f"'{axis}' is {size}, this graph needs at least {limit.minimum}")
