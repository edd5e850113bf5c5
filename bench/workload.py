"""The grid: which sizes a model is measured at, and the arrays that it reads there, seeded; it runs nothing."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ..runtime.bundle.manifest import Bundle
from ..runtime.errors import UsageError
from ..runtime.graphs.signature import KINDS, Tensor
from .result import GridCase

NEW = "new"  # tokens that are written
_READ = "encoder_sequence"
_TOKENS = (16, 128)
_DEFAULTS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "batch": (1, 8),
        "sequence": _TOKENS,
        _READ: _TOKENS,
        "height": (224,),
        "width": (224,),
        "samples": (16_000 * 5,),
        NEW: (1, 32),
    }
)
_ANY = (128,)  # for an axis of another name
_LARGEST = 1 << 24
_SPECIAL = 1000  # ids below are special tokens in most vocabularies


@dataclass(frozen=True)
class Workload:
    """What is measured: the inputs that a caller gives, and the sizes of every axis, `new` for one that writes."""

    inputs: tuple[Tensor, ...]
    vocabulary: int
    grid: Mapping[str, tuple[int, ...]]

    def cases(self) -> Iterator[GridCase]:
        """Yield every point of the grid."""
        for values in itertools.product(*self.grid.values()):
            sizes = dict(zip(self.grid, values, strict=True))
            rows = sizes.get("batch", 1)
            count, unit = (rows * sizes[NEW], "tokens") if NEW in sizes else (rows, "rows")
            yield GridCase(" x ".join(f"{axis} {size}" for axis, size in sizes.items()), sizes, count, unit)

    def arguments(self, case: GridCase, folder: Path) -> dict[str, Any]:
        """Return what a backend is asked for at a case: the file of its inputs, written into a folder, and `new`."""
        random = np.random.default_rng(list(case.sizes.values()))
        arrays = {tensor.name: _values(tensor, case.sizes, self.vocabulary, random) for tensor in self.inputs}
        path = folder / f"{'-'.join(map(str, case.sizes.values()))}.npz"
        np.savez(path, allow_pickle=False, **arrays)
        return {"inputs": str(path), **({NEW: case.sizes[NEW]} if NEW in case.sizes else {})}


def workload(bundle: Bundle, config: Mapping[str, Any], given: Mapping[str, Sequence[int]]) -> Workload:
    """Return the workload of a bundle, with the sizes that are given in place of the usual ones.

    Raises UsageError for an axis that the model does not have, or a size that it does not take.
    """
    writes = bundle.topology.generates
    graph = bundle.graphs[bundle.topology.entry(bundle.graphs)]
    # A decoder's masks, positions and caches are the token loop's.
    inputs = tuple(tensor for tensor in graph.inputs if not writes or tensor.name in KINDS)
    named = dict.fromkeys(axis for tensor in inputs for axis in tensor.axes if isinstance(axis, str))
    axes = (*named, *([NEW] if writes else []))
    # What an encoder reads for a decoder is a sequence to whoever asks.
    meant = {"sequence": _READ} if _READ in axes and "sequence" not in axes else {}
    given = {meant.get(axis, axis): sizes for axis, sizes in given.items()}
    if unknown := sorted(set(given) - set(axes)):
        raise UsageError(f"this model has no axis '{unknown[0]}' to be measured over (it has: {', '.join(axes)})")
    return Workload(inputs, _vocabulary(config), {axis: _sizes(axis, given.get(axis), bundle) for axis in axes})


def _sizes(axis: str, given: Sequence[int] | None, bundle: Bundle) -> tuple[int, ...]:
    limits = bundle.axes.get(axis)
    low, high = (limits.minimum, limits.maximum or _LARGEST) if limits else (1, _LARGEST)
    if given is None:
        return tuple(dict.fromkeys(min(max(size, low), high) for size in _DEFAULTS.get(axis, _ANY)))
    if wrong := [size for size in given if not low <= size <= high]:
        raise UsageError(f"'{axis}' is {wrong[0]}, this model accepts {low} to {high}")
    return tuple(dict.fromkeys(given))


def _vocabulary(config: Mapping[str, Any]) -> int:
    nested: Iterable[Any] = (config, config.get("text_config"), config.get("encoder"), config.get("decoder"))
    sizes = [part["vocab_size"] for part in nested if isinstance(part, Mapping) and "vocab_size" in part]
    return min((size for size in sizes if isinstance(size, int)), default=2)


def _values(tensor: Tensor, sizes: Mapping[str, int], vocabulary: int, random: np.random.Generator) -> np.ndarray:
    """Return seeded values of an input: tokens, masks of ones, places in order, or noise as normalized input has it."""
    shape = tuple(sizes[axis] if isinstance(axis, str) else axis for axis in tensor.axes)
    if tensor.name.endswith("input_ids"):
        return random.integers(min(_SPECIAL, vocabulary // 2), vocabulary, shape).astype(tensor.array_dtype)
    if tensor.name == "position_ids":
        return np.broadcast_to(np.arange(shape[-1], dtype=tensor.array_dtype), shape).copy()
    if "mask" in tensor.name:
        return np.ones(shape, tensor.array_dtype)
    if tensor.array_dtype.kind == "f":
        return random.standard_normal(shape).astype(tensor.array_dtype)
    return np.zeros(shape, tensor.array_dtype)
