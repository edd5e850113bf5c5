"""Memory on a GPU that outlives a run: arrays there, whose buffers are lent again; it knows no engine."""

import weakref
from collections import defaultdict
from threading import Lock

import numpy as np

from ...errors import UsageError
from .driver import Driver


class DeviceMemory:
    """Buffers on one GPU, of sizes that are powers of two: a cache that grows by a token mostly finds one that is free.

    Several threads may use it. Once it is closed, its arrays are gone.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._lock = Lock()
        self._made: list[int] | None = []
        self._stream = driver.create_stream()

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> "DeviceArray":
        """Return an array of any contents; its memory is free again when nothing refers to it."""
        needed = max(1, dtype.itemsize * int(np.prod(shape)))
        size = 1 << (needed - 1).bit_length()
        with self._lock:
            made, free = self._opened(), self._free[size]
            if free:
                address = free.pop()
            else:
                address = self._driver.allocate(size)
                made.append(address)
        array = DeviceArray(self, address, shape, dtype)
        weakref.finalize(array, self._give_back, size, address)
        return array

    def placed(self, array: np.ndarray) -> "DeviceArray":
        """Return a copy of an array."""
        source = np.asarray(array, order="C")
        target = self.array(source.shape, source.dtype)
        with self._lock:
            self._opened()
            self._driver.upload(target.address, source, self._stream)
            self._driver.synchronize(self._stream)
        return target

    def read(self, array: "DeviceArray") -> np.ndarray:
        """Return a copy of an array that lies here; raise UsageError if this was closed."""
        target = np.empty(array.shape, array.dtype)
        with self._lock:
            self._opened()
            self._driver.download(target, array.address, self._stream)
            self._driver.synchronize(self._stream)
        return target

    def close(self) -> None:
        """Free all buffers, lent or not; no run may be under way."""
        with self._lock:
            made, self._made = self._opened(), None
            self._free.clear()
            for address in made:
                self._driver.free(address)
            self._driver.destroy_stream(self._stream)

    def _opened(self) -> list[int]:
        if self._made is None:
            raise UsageError("the session that this array on the GPU belongs to is closed: keep it open")
        return self._made

    def _give_back(self, size: int, address: int) -> None:
        # Python may call this at any point, also in a thread that holds the lock: appending needs none.
        if self._made is not None:
            self._free[size].append(address)


class DeviceArray:
    """An array on a GPU, C-contiguous."""

    def __init__(self, memory: DeviceMemory, address: int, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.address, self.shape, self.dtype = address, shape, dtype
        self._memory = memory

    def numpy(self) -> np.ndarray:
        return self._memory.read(self)
