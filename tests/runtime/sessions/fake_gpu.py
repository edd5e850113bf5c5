"""A GPU of which nothing is forgiven: memory and streams that know who may touch them, and when."""

import itertools
import threading
from collections import defaultdict

import numpy as np

from vitrify.runtime.errors import EnvironmentMissing

GARBAGE = 0xCC


class FakeGpu:
    """A `Driver` whose work waits on its streams until they are synchronized.

    `sizes` are those of what was allocated, `uploads` the dtypes of what was copied to it.

    An assertion fails where memory is used after it was freed, freed twice or while in use, where anything is left at
    the end, and where the closed driver is called. An array that is read too early holds garbage.
    """

    def __init__(self, *, capability="89", name="a GPU", room=1 << 20):
        self.capability, self.name, self.room = capability, name, room
        self.memory, self.queues = {}, defaultdict(list)
        self.streams, self.sizes, self.uploads, self.closed = set(), [], [], False
        self._numbers, self._lock = itertools.count(1), threading.Lock()

    def allocate(self, size):
        self._check_open()
        assert size > 0, "CUDA allocates at least one byte"
        with self._lock:
            if size + sum(map(len, self.memory.values())) > self.room:
                raise EnvironmentMissing("the GPU's memory is full")
            address = next(self._numbers) << 32
            self.memory[address] = bytearray([GARBAGE]) * size
            self.sizes.append(size)
        return address

    def free(self, address):
        self._check_open()
        assert address in self.memory, "freed twice, or never allocated"
        waiting = {used for queue in list(self.queues.values()) for _, addresses in queue for used in addresses}
        assert address not in waiting, "freed while a stream uses it"
        del self.memory[address]

    def upload(self, address, array, stream):
        assert array.flags.c_contiguous
        self.uploads.append(array.dtype)
        self.enqueue(stream, lambda: self.write(address, array), address)

    def download(self, array, address, stream):
        assert array.flags.c_contiguous
        array.reshape(-1).view(np.uint8).fill(GARBAGE)
        self.enqueue(stream, lambda: np.copyto(array, self.read(address, array.dtype, array.shape)), address)

    def create_stream(self):
        self._check_open()
        stream = next(self._numbers)
        self.streams.add(stream)
        return stream

    def synchronize(self, stream):
        self._check_stream(stream)
        while self.queues[stream]:
            work, _ = self.queues[stream][0]
            work()
            self.queues[stream].pop(0)

    def destroy_stream(self, stream):
        self._check_stream(stream)
        assert not self.queues.pop(stream, []), "destroyed with work on it"
        self.streams.remove(stream)

    def close(self):
        self._check_open()
        assert not self.memory, "memory is left"
        assert not self.streams, "streams are left"
        self.closed = True

    def enqueue(self, stream, work, *addresses):
        """Queue what a kernel or a copy does with the memory at these addresses."""
        self._check_stream(stream)
        self.queues[stream].append((work, addresses))

    def read(self, address, dtype, shape):
        """Return a copy of what a kernel sees at an address."""
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        assert address in self.memory, "used after it was freed"
        assert size <= len(self.memory[address]), "read beyond its end"
        return np.frombuffer(bytes(self.memory[address][:size]), dtype).reshape(shape)

    def write(self, address, array):
        assert address in self.memory, "used after it was freed"
        assert array.nbytes <= len(self.memory[address]), "written beyond its end"
        self.memory[address][: array.nbytes] = array.tobytes()

    def _check_stream(self, stream):
        self._check_open()
        assert stream in self.streams, "no such stream"

    def _check_open(self):
        assert not self.closed, "the driver is closed"
