"""Take sockets away from this process with a seccomp filter, which needs no privilege; it knows nothing of weights.

The filter is a classic BPF program over `struct seccomp_data` (Linux' linux/seccomp.h, linux/filter.h): wrong
architecture, or the x32 variant of a call: kill; a denied call: EPERM; everything else: allow.
"""

import ctypes
import platform
import struct

# Per machine: its AUDIT_ARCH, the number of seccomp(2), and those of socket(2), io_uring_setup(2), which opens sockets
# too, ptrace(2) and pidfd_getfd(2), which take those of another process.
_NUMBERS = {
    "x86_64": (0xC000003E, 317, (41, 425, 101, 438)),
    "aarch64": (0xC00000B7, 277, (198, 425, 117, 438)),
}
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_KILL, _ALLOW, _EPERM = 0x80000000, 0x7FFF0000, 0x00050001
_X32 = 0x40000000
_NO_NEW_PRIVILEGES = 38
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def take_sockets_away() -> bool:
    """Make socket(2) fail in all threads of this process from now on; return whether the kernel did so."""
    if platform.machine() not in _NUMBERS:
        return False
    architecture, seccomp, denied = _NUMBERS[platform.machine()]
    code = _filter(architecture, denied)
    memory = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(memory))
    kernel = ctypes.CDLL(None, use_errno=True)
    if kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        return False
    return kernel.syscall(seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program)) == 0


def _filter(architecture: int, denied: tuple[int, ...]) -> bytes:
    """Return the program: each instruction is (code, jump if true, jump if false, value), jumps count from the next."""
    checks = [(_IF_EQUAL, len(denied) - index, 0, number) for index, number in enumerate(denied)]
    program = [
        (_LOAD, 0, 0, 4),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_IF_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, _KILL),
        *checks,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
