"""One execution of a TensorRT engine at a time: a context, its stream, its buffers on the GPU; no choice of ranges."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np

from ...errors import EnvironmentMissing, UnsupportedError
from ...graphs.signature import Tensor
from ..base import Value, on_host
from .device_memory import DeviceArray, DeviceMemory
from .driver import Driver


class _Buffer(NamedTuple):
    address: int
    size: int


class Execution:
    """An execution context that one thread at a time runs.

    Buffers belong to it: they grow to at least twice their size, keep it, and are freed when it closes. What is kept
    lies in `memory`. `said` returns what TensorRT last complained of, for errors.
    """

    def __init__(
        self,
        context: Any,
        driver: Driver,
        *,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        memory: DeviceMemory,
        said: Callable[[], str],
    ) -> None:
        self._context: Any = context
        self._driver = driver
        self._inputs = inputs
        self._outputs = outputs
        self._memory = memory
        self._said = said
        self._buffers: dict[str, _Buffer] = {}
        self._profile: int | None = None
        self._stream = driver.create_stream()

    def run(self, profile: int, feeds: Mapping[str, Value], kept: Collection[str] = ()) -> dict[str, Value]:
        """Return the outputs for feeds that lie within the optimization profile of this number.

        Those `kept` stay on the GPU. Raises UnsupportedError for an output whose size depends on values,
        EnvironmentMissing if the GPU fails.
        """
        given = {tensor.name: _laid_out(feeds[tensor.name]) for tensor in self._inputs}
        self._set_shapes(profile, given)
        shapes = {tensor: self._shape(tensor) for tensor in self._outputs}
        made: dict[str, Value] = {
            tensor.name: self._memory.array(shape, tensor.array_dtype)
            if tensor.name in kept
            else np.empty(shape, tensor.array_dtype)
            for tensor, shape in shapes.items()
        }
        for name, value in given.items():
            if isinstance(value, DeviceArray):
                self._set_address(name, value.address)
            else:
                self._driver.upload(self._bind(name, value), value, self._stream)
        fetched = []
        for name, value in made.items():
            if isinstance(value, DeviceArray):
                self._set_address(name, value.address)
            else:
                fetched.append((on_host(value), self._bind(name, on_host(value))))
        self._check(self._context.execute_async_v3(self._stream), "execute_async_v3")
        for array, address in fetched:
            self._driver.download(array, address, self._stream)
        self._driver.synchronize(self._stream)
        return made

    def close(self) -> None:
        """Wait for what is queued, and free the context, the buffers and the stream, even if the GPU failed."""
        with ExitStack() as freed:
            freed.callback(self._driver.destroy_stream, self._stream)
            for buffer in self._buffers.values():
                freed.callback(self._driver.free, buffer.address)
            self._driver.synchronize(self._stream)
            self._context = None

    def _set_shapes(self, profile: int, given: Mapping[str, np.ndarray | DeviceArray]) -> None:
        if profile != self._profile:
            chosen = self._context.set_optimization_profile_async(profile, self._stream)
            self._check(chosen, f"set_optimization_profile_async({profile})")
            self._profile = profile
        for name, array in given.items():
            self._check(self._context.set_input_shape(name, array.shape), f"set_input_shape({name}, {array.shape})")

    def _shape(self, tensor: Tensor) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(tensor.name))
        if any(size < 0 for size in shape):
            raise UnsupportedError(
                f"output '{tensor.name}' of the engine has a size that depends on values ({list(shape)}): "
                "run this graph on a profile of cuda or cpu"
            )
        return shape

    def _bind(self, name: str, array: np.ndarray) -> int:
        """Return the address of a buffer that holds the array; the last run's contents are lost where it grows."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < array.nbytes:
            buffer = self._grow(name, array.nbytes)
        self._set_address(name, buffer.address)
        return buffer.address

    def _set_address(self, name: str, address: int) -> None:
        self._check(self._context.set_tensor_address(name, address), f"set_tensor_address({name})")

    def _grow(self, name: str, needed: int) -> _Buffer:
        old = self._buffers.pop(name, None)
        if old is not None:
            self._driver.free(old.address)
        size = max(1, needed, 2 * old.size if old else 0)
        self._buffers[name] = _Buffer(self._driver.allocate(size), size)
        return self._buffers[name]

    def _check(self, succeeded: bool, call: str) -> None:
        if not succeeded:
            raise EnvironmentMissing(f"TensorRT failed in {call}: {self._said()}")


def _laid_out(value: Value) -> np.ndarray | DeviceArray:
    """Return a value as a run reads it: where it lies on the GPU, or else a contiguous array."""
    return value if isinstance(value, DeviceArray) else np.asarray(on_host(value), order="C")
