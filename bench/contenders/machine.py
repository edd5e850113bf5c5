"""The machine's own limits: how fast it multiplies float32 matrices, and how fast it reads memory."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

_SIDE = 1536
_READ = 1 << 28  # bytes, beyond any cache


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works; each call returns what it did, in floating-point operations or bytes."""
    del model, variant
    return {"gemm": _gemm, "read": lambda: _read(threads)}


def _gemm() -> Callable[[], float]:
    """Return the function that multiplies two square matrices by numpy's BLAS."""
    first, second = np.random.default_rng(0).standard_normal((2, _SIDE, _SIDE), np.float32)
    out = np.empty_like(first)

    def run() -> float:
        np.matmul(first, second, out=out)
        return 2.0 * _SIDE**3

    return run


def _read(threads: int) -> Callable[[], float]:
    """Return the function that reads an array once, a part of it in each thread."""
    parts = np.array_split(np.ones(_READ // 4, np.float32), threads)  # written, so that the pages are there
    pool = ThreadPoolExecutor(threads)

    def run() -> float:
        list(pool.map(lambda part: np.dot(part, part), parts))
        return float(_READ)

    return run
