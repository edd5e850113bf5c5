"""A `libcuda.so.1` in Python behind cuda.h's own prototypes, so that a wrong argument is seen.

Its memory is the host's. A method is a function's name without "cu" and "_v2", in lower case.
"""

import ctypes
import threading
from ctypes import CFUNCTYPE, POINTER, c_char, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_void_p

OUT_OF_MEMORY, NO_DEVICE, INVALID_VALUE, INVALID_CONTEXT, INVALID_HANDLE = 2, 100, 1, 201, 400
_TEXTS = {
    OUT_OF_MEMORY: b"out of memory",
    NO_DEVICE: b"no CUDA-capable device is detected",
    INVALID_VALUE: b"invalid argument",
    INVALID_CONTEXT: b"invalid device context",
    INVALID_HANDLE: b"invalid resource handle",
}
_CONTEXT = 0x1234567812345678  # needs all 64 bits, as real handles do
# CUdeviceptr is 64 bits wide, a CUcontext and a CUstream are pointers, a CUdevice and a CUresult are ints.
PROTOTYPES = {
    "cuInit": (c_uint,),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (POINTER(c_char), c_int, c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemAlloc_v2": (POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (POINTER(c_void_p), c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuGetErrorString": (c_int, POINTER(c_char_p)),
}
# What works without a current context.
_ANYWHERE = {"cuInit", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute", "cuCtxSetCurrent", "cuGetErrorString"}
_ANYWHERE |= {"cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRelease_v2"}


class FakeCuda:
    """The library: one GPU of compute capability 8.9 with `room` bytes; `calls` are the names of what was called."""

    def __init__(self, *, room=1 << 16, devices=1):
        self.room, self.devices = room, devices
        self.calls, self.memory, self.streams, self.retained = [], {}, set(), 0
        self._current = threading.local()
        self._texts = {code: c_char_p(text) for code, text in _TEXTS.items()}
        for name, arguments in PROTOTYPES.items():
            setattr(self, name, CFUNCTYPE(c_int, *arguments)(self._checked(name)))

    def load(self, name):
        assert name == "libcuda.so.1"
        return self

    def _checked(self, name):
        work = getattr(self, "_" + name.removeprefix("cu").removesuffix("_v2").lower())

        def call(*arguments):
            self.calls.append(name)
            if name not in _ANYWHERE and getattr(self._current, "context", None) != _CONTEXT:
                return INVALID_CONTEXT
            return work(*arguments)

        return call

    def _init(self, flags):
        return 0 if self.devices else NO_DEVICE

    def _deviceget(self, device, ordinal):
        device[0] = 7
        return 0 if ordinal < self.devices else INVALID_VALUE

    def _devicegetname(self, text, length, device):
        ctypes.memmove(text, b"NVIDIA L4\0", min(length, 10))
        return 0 if device == 7 else INVALID_VALUE

    def _devicegetattribute(self, value, attribute, device):
        value[0] = {75: 8, 76: 9}[attribute]
        return 0

    def _deviceprimaryctxretain(self, context, device):
        self.retained += 1
        context[0] = _CONTEXT
        return 0

    def _deviceprimaryctxrelease(self, device):
        self.retained -= 1
        return 0

    def _ctxsetcurrent(self, context):
        self._current.context = context
        return 0

    def _memalloc(self, address, size):
        if not size:
            return INVALID_VALUE
        if size > self.room:
            return OUT_OF_MEMORY
        buffer = ctypes.create_string_buffer(size)
        address[0] = ctypes.addressof(buffer)
        self.memory[address[0]] = buffer
        return 0

    def _memfree(self, address):
        return 0 if self.memory.pop(address, None) else INVALID_VALUE

    def _memcpyhtodasync(self, target, source, size, stream):
        return self._copy(target, target, source, size, stream)

    def _memcpydtohasync(self, target, source, size, stream):
        return self._copy(source, target, source, size, stream)

    def _copy(self, on_device, target, source, size, stream):
        if stream not in self.streams:
            return INVALID_HANDLE
        if not size or on_device not in self.memory or size > len(self.memory[on_device]):
            return INVALID_VALUE
        ctypes.memmove(target, source, size)
        return 0

    def _streamcreate(self, stream, flags):
        stream[0] = _CONTEXT + len(self.streams) + 1
        self.streams.add(stream[0])
        return 0 if flags == 1 else INVALID_VALUE

    def _streamsynchronize(self, stream):
        return 0 if stream in self.streams else INVALID_HANDLE

    def _streamdestroy(self, stream):
        if stream not in self.streams:
            return INVALID_HANDLE
        self.streams.remove(stream)
        return 0

    def _geterrorstring(self, code, text):
        text[0] = self._texts[code]
        return 0
