"""The GPU as a native engine needs it: device memory and streams, by CUDA's driver API alone.

It knows no engine and needs no package, only NVIDIA's driver.
"""

import ctypes
from collections.abc import Callable, Mapping
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p
from typing import Any, Protocol

import numpy as np

from ...errors import EnvironmentMissing

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING: it does not wait for the default stream
_LONGEST_NAME = 256
_HINTS: Mapping[int, str] = {
    2: "The GPU's memory is full: use a smaller batch, shorter inputs or fewer models at a time",
}


class Driver(Protocol):
    """What a native engine's session needs of one GPU; several threads may call it.

    Addresses and streams are the driver's numbers. A copy is queued: its array belongs to the stream until
    `synchronize` returns, and has the size of what is copied. Every method raises EnvironmentMissing if the GPU fails.
    """

    @property
    def name(self) -> str:
        """The GPU's name, such as "NVIDIA L4"."""
        ...

    @property
    def capability(self) -> str:
        """The GPU's compute capability without its point, such as "89"."""
        ...

    def allocate(self, size: int) -> int:
        """Return the address of `size` bytes, at least 1, on the GPU."""
        ...

    def free(self, address: int) -> None:
        """Give back what `allocate` returned."""

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        """Queue a copy of a C-contiguous array to the GPU."""

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        """Queue a copy from the GPU into a C-contiguous array."""

    def create_stream(self) -> int:
        """Return a new stream."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until everything queued on the stream is done."""

    def destroy_stream(self, stream: int) -> None:
        """Give back what `create_stream` returned."""

    def close(self) -> None:
        """Let go of the GPU; nothing else is called afterwards."""


class CudaDriver:
    """A GPU through `libcuda.so.1`, in its primary context, which TensorRT and others that use CUDA's runtime share.

    Arguments of calls are typed where they are made: the library has no prototypes that ctypes could read.
    """

    def __init__(self, *, device: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        try:
            self._library = load(_LIBRARY)
        except OSError as error:
            raise EnvironmentMissing(
                f"NVIDIA's driver is missing ({error}): install it where there is a GPU"
            ) from error
        self._call("cuInit", c_uint(0))
        self._device = c_int()
        self._call("cuDeviceGet", byref(self._device), c_int(device))
        self._context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._device)

    @property
    def name(self) -> str:
        text = ctypes.create_string_buffer(_LONGEST_NAME)
        self._call("cuDeviceGetName", text, c_int(_LONGEST_NAME), self._device)
        return text.value.decode(errors="replace")

    @property
    def capability(self) -> str:
        return f"{self._attribute(_MAJOR)}{self._attribute(_MINOR)}"

    def allocate(self, size: int) -> int:
        address = c_uint64()
        self._call_in_context("cuMemAlloc_v2", byref(address), c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        self._call_in_context("cuMemFree_v2", c_uint64(address))

    def upload(self, address: int, array: np.ndarray, stream: int) -> None:
        if array.nbytes:
            source, size = c_void_p(array.ctypes.data), c_size_t(array.nbytes)
            self._call_in_context("cuMemcpyHtoDAsync_v2", c_uint64(address), source, size, c_void_p(stream))

    def download(self, array: np.ndarray, address: int, stream: int) -> None:
        if array.nbytes:
            target, size = c_void_p(array.ctypes.data), c_size_t(array.nbytes)
            self._call_in_context("cuMemcpyDtoHAsync_v2", target, c_uint64(address), size, c_void_p(stream))

    def create_stream(self) -> int:
        stream = c_void_p()
        self._call_in_context("cuStreamCreate", byref(stream), c_uint(_NON_BLOCKING))
        assert stream.value is not None
        return stream.value

    def synchronize(self, stream: int) -> None:
        self._call_in_context("cuStreamSynchronize", c_void_p(stream))

    def destroy_stream(self, stream: int) -> None:
        self._call_in_context("cuStreamDestroy_v2", c_void_p(stream))

    def close(self) -> None:
        self._call("cuDevicePrimaryCtxRelease_v2", self._device)

    def _attribute(self, number: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), c_int(number), self._device)
        return value.value

    def _call_in_context(self, name: str, *arguments: Any) -> None:
        """Call what works on the thread's current context, which another thread or library may have set."""
        self._call("cuCtxSetCurrent", self._context)
        self._call(name, *arguments)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            text = c_char_p()
            self._library.cuGetErrorString(c_int(code), byref(text))
            said = (text.value or b"no such error").decode(errors="replace")
            hint = _HINTS.get(code, "See `nvidia-smi` for the GPU and its driver")
            raise EnvironmentMissing(f"CUDA's driver failed in {name}: {said} ({code}). {hint}")
