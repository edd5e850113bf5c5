"""The contract of every backend: named numpy arrays in, named numpy arrays out; it knows no backend.

The public `run` checks names, dtypes and shapes, so that a private `_run` only works.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

import numpy as np

from ..errors import UsageError
from ..graphs.signature import Tensor
from ..machine import usable_cores

_MOST_THREADS = 256
_WHOLE = frozenset("biu")  # numpy's kinds of bool, int and uint


class Kept(Protocol):
    """What a session left on its device: a later run takes it as it is. It is never written into."""

    def numpy(self) -> np.ndarray:
        """Return a copy on the host."""
        ...


Value = np.ndarray | Kept


def on_host(value: Value) -> np.ndarray:
    """Return a value as an array, copied from its device if need be."""
    return value if isinstance(value, np.ndarray) else value.numpy()


def cpu_threads(threads: int | None) -> int:
    """Return how many threads a backend on the CPU takes: as asked, or the cores that this process may use.

    Raises UsageError if `threads` is not at least 1, or so many that starting them takes seconds.
    """
    most = max(_MOST_THREADS, usable_cores())
    if threads is not None and not 1 <= threads <= most:
        raise UsageError(f"threads: got {threads}, expected a number from 1 to {most}, or None for every usable core")
    return threads or usable_cores()


class Session(ABC):
    """A graph loaded on an execution provider.

    Attributes
    ----------
    graph
        The graph's file as errors name it, such as `onnx/model.onnx`.
    inputs, outputs
        What the graph takes and gives, in its order.
    optional
        Inputs that have a value when none is given.
    providers
        The execution providers that run its nodes, the first one first.

    """

    def __init__(
        self,
        *,
        graph: str,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        providers: tuple[str, ...],
        optional: tuple[Tensor, ...] = (),
    ) -> None:
        self.graph = graph
        self.inputs = inputs
        self.optional = optional
        self.outputs = outputs
        self.providers = providers
        self._checks = tuple((tensor.name, tensor.array_dtype, tensor.axes) for tensor in (*inputs, *optional))
        self._bits = frozenset(tensor.name for tensor in (*inputs, *optional, *outputs) if tensor.is_bits)
        self._optional = frozenset(tensor.name for tensor in optional)

    def run(self, feeds: dict[str, np.ndarray], *, checked: bool = True) -> dict[str, np.ndarray]:
        """Run the graph once and return its outputs by name; several threads may call it at a time.

        Parameters
        ----------
        feeds
            One array for every input, of its dtype and rank. Whole numbers and booleans are widened (int32 where
            int64 is expected); nothing else is converted.
        checked
            False for the token loop, which makes the same feeds thousands of times.

        Raises
        ------
        UsageError
            A name, a dtype, a rank or a size is not what the graph takes, equal-named axes differ, or the values
            are such that the provider cannot work (an id beyond the vocabulary, on ONNX Runtime's CPU kernels).

        """
        return self._run(self._checked(feeds) if checked else feeds)

    def run_keeping(self, feeds: Mapping[str, Value], kept: Collection[str]) -> dict[str, Value]:  # noqa: ARG002
        """Run the graph once; the outputs `kept` stay on the session's device, if that is not the host.

        Nobody checks the feeds. What other sessions kept or placed on the same device may be among them.
        """
        return dict(self._run({name: on_host(value) for name, value in feeds.items()}))

    def placed(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, Value]:
        """Return inputs, by name, as they are read by many runs: on the session's device."""
        return arrays

    def bind(self, feeds: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> Callable[[], None]:
        """Return a function that runs the graph from these arrays into those, again and again.

        The caller writes into `feeds` between runs and reads `outputs` (all of the graph's); both are C-contiguous and
        of the right names, dtypes and shapes, which nobody checks. An array may be among both: then the graph writes in
        place.
        """

        def run() -> None:
            for name, made in self.run(feeds, checked=False).items():
                if made is not outputs[name]:
                    np.copyto(outputs[name], made)

        return run

    def assignments(self) -> dict[str, dict[str, int]]:
        """Return how many nodes of each operator each provider runs; empty where the session was not told to record."""
        return {}

    @abstractmethod
    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph on feeds that are right."""

    @abstractmethod
    def close(self) -> None:
        """Free the graph; runs under way in other threads finish, later ones raise UsageError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        sizes: dict[str, int] = {}
        checked = {}
        for name, dtype, axes in self._checks:
            array = feeds.get(name)
            if array is None and name in self._optional:
                continue
            if array is None:
                raise UsageError(f"missing required input '{name}' ({self._tensor(name)}) of graph '{self.graph}'")
            if not isinstance(array, np.ndarray):
                raise self._refusal(name, f"a {type(array).__name__}")
            if array.dtype != dtype:
                array = self._widened(name, array, dtype)
            if array.ndim != len(axes):
                raise self._refusal(name, _described(array))
            for axis, size in zip(axes, array.shape, strict=True):
                if size != (axis if isinstance(axis, int) else sizes.setdefault(axis, size)):
                    raise self._refusal(name, _described(array), agreed=sizes)
            checked[name] = array
        if len(feeds) != len(checked):
            unknown = sorted(set(feeds) - set(checked))
            raise UsageError(f"graph '{self.graph}' has no input '{unknown[0]}' (its inputs: {', '.join(checked)})")
        return checked

    def _widened(self, name: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
        whole = array.dtype.kind in _WHOLE and dtype.kind in _WHOLE and name not in self._bits
        if not np.can_cast(array.dtype, dtype, "safe" if whole else "equiv"):
            raise self._refusal(name, _described(array))
        return array.astype(dtype)

    def _tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in (*self.inputs, *self.optional) if tensor.name == name)

    def _refusal(self, name: str, got: str, *, agreed: Mapping[str, int] = MappingProxyType({})) -> UsageError:
        expected = self._tensor(name)
        known = [f"{axis} = {agreed[axis]}" for axis in expected.axes if isinstance(axis, str) and axis in agreed]
        where = f" where {', '.join(known)}" if known else ""
        return UsageError(f"input '{name}' of graph '{self.graph}': got {got}, expected {expected}{where}")


def _described(array: np.ndarray) -> str:
    return f"{array.dtype}[{', '.join(map(str, array.shape))}]"
