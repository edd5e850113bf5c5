"""Which inputs are many, how they are read one after another, and their lazy results; it knows no task."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any, get_origin

from ...processing.open_files import is_binary_file

# What Python iterates over, but not as inputs: a class, keys, numbers.
_NOT_MANY = (type, Mapping, bytes, bytearray, memoryview)


class Results(Iterator[Any]):
    """The lazy results of `count` inputs, for progress bars; `close` ends the work on them."""

    def __init__(self, results: Generator[Any, None, None], count: int) -> None:
        self._results = results
        self._count = count

    def __next__(self) -> Any:
        return next(self._results)

    def __len__(self) -> int:
        return self._count

    def close(self) -> None:
        """Read no more inputs."""
        self._results.close()


def inputs_of(inputs: Any) -> Iterator[Any] | None:
    """Return an iterator over many inputs, or None for an object that is not many.

    As in transformers, a data set that has `__getitem__` and `__len__` is read by index: one of PyTorch need not raise
    IndexError behind its last item.
    """
    if isinstance(inputs, _NOT_MANY) or get_origin(inputs) is not None or is_binary_file(inputs):
        return None
    count = count_of(inputs)
    if count is not None and hasattr(type(inputs), "__getitem__") and not hasattr(type(inputs), "__iter__"):
        return map(inputs.__getitem__, range(count))
    try:
        return iter(inputs)
    except TypeError:
        return None


def count_of(inputs: Any) -> int | None:
    """Return how many inputs there are, or None where they do not tell."""
    try:
        return len(inputs)
    except (TypeError, NotImplementedError):
        return None
