"""Is a lossy graph still the one that was exported? Its outputs are compared with those that the bundle stores.

They are stored condensed: 64 signed sums of each position's values, of 256 positions or more. Sums with drawn signs are
as far apart as the values are, on average (the AMS sketch: Alon, Matias, Szegedy 1996).
It knows nothing of torch and of sessions: callers run the models.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graphs.signature import MASK
from ..numerics import Arrays

POSITIONS, WIDTH = 256, 64
# Outputs that barely depend on the input are compared on a tenth of their magnitude.
_LEAST_SPREAD = 0.1
# No rounding is as far as an output that says nothing, which is 1 away.
_MOST_TOLERATED = 0.5
# Beyond it a value says "never", such as a masked logit.
_LARGEST = 1e9


@dataclass(frozen=True)
class Identity:
    """How far a graph is from its export: the error over how much the stored outputs differ between positions.

    Both are root mean squares. Outputs that are the same everywhere are 1 away, shuffled ones about 1.4.
    """

    difference: float
    tolerance: float
    positions: int

    @property
    def passed(self) -> bool:
        """Whether the difference keeps the tolerance; a NaN never does."""
        return self.difference <= self.tolerance

    def summary(self) -> dict[str, Any]:
        """Return what a report says of it."""
        return {"checked": True, **vars(self), "passed": self.passed}


def tolerated(least: float, loss: float) -> float:
    """Return how far a graph may be from its export where rounding took it `loss` away from PyTorch.

    On another CPU a value rounds the other way, then all that follow: two roundings that have nothing in common are
    1.41 times as far from each other as each is from what was rounded.
    """
    return max(least, min(2**0.5 * loss, _MOST_TOLERATED))


def condensed(inputs: Arrays, outputs: Arrays) -> dict[str, np.ndarray]:
    """Return what is stored of outputs, each float32 [at most 256 positions, at most 64]; padded positions are none."""
    return {name: _folded(_positions(value, inputs.get(MASK))) for name, value in outputs.items()}


def _positions(value: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    if mask is not None and value.shape[:2] == mask.shape:
        value = value[mask.astype(bool)]
    rows = value.reshape(-1, value.shape[-1] if value.ndim > 1 else 1)
    return rows[np.linspace(0, len(rows) - 1, POSITIONS).astype(int)] if len(rows) > POSITIONS else rows


def _folded(rows: np.ndarray) -> np.ndarray:
    """Return [positions, values] as [positions, at most 64] sums of neighbours, with signs."""
    rows = np.where(np.abs(rows) >= _LARGEST, 0.0, rows.astype(np.float64))
    width = rows.shape[1]
    if width > WIDTH:
        # The raw stream of a bit generator is the same in every release of NumPy.
        signs = 1.0 - 2.0 * (np.random.PCG64(width).random_raw(width) >> 63)
        rows = np.add.reduceat(rows * signs, np.linspace(0, width, WIDTH, endpoint=False).astype(int), axis=1)
    return rows.astype(np.float32)


def identity_of(pairs: Iterable[tuple[Arrays, Arrays]], tolerance: float) -> Identity:
    """Compare stored outputs with those that are found, both condensed, case by case; the farthest output counts."""
    pairs = list(pairs)
    names = list(dict.fromkeys(name for stored, _ in pairs for name in stored))
    distances = [
        _distance([(stored[name], found.get(name)) for stored, found in pairs if name in stored]) for name in names
    ]
    positions = max((sum(len(stored[name]) for stored, _ in pairs if name in stored) for name in names), default=0)
    # max() would leave out a NaN
    return Identity(float(np.max(distances)) if distances else float("inf"), tolerance, positions)


def _distance(pairs: Sequence[tuple[np.ndarray, np.ndarray | None]]) -> float:
    if any(found is None or found.shape != stored.shape for stored, found in pairs):
        return float("inf")
    widths = {stored.shape[1] for stored, _ in pairs}
    error = spread = magnitude = 0.0
    for width in widths:
        stored = np.concatenate([one for one, _ in pairs if one.shape[1] == width]).astype(np.float64)
        found = np.concatenate([other for one, other in pairs if other is not None and one.shape[1] == width])
        error += float(((stored - found) ** 2).sum())
        spread += float(((stored - stored.mean(axis=0)) ** 2).sum())
        magnitude += float((stored**2).sum())
    whole = max(spread, _LEAST_SPREAD**2 * magnitude)
    if not whole:
        return 0.0 if error == 0 else float("inf")
    return float(np.sqrt(error / whole))
