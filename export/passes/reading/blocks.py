"""Round matrices to low-bit values, block by block along their rows: the numerics of weight-only quantization.

1. A row is cut into blocks of `block_size`; the last is filled with zeros. Each block has a scale of its own and, if
   not symmetric, a zero point of its own: w = (q - zero) * scale, with q in [0, 2^bits).
2. Scales are searched: several ranges around the block's own are tried; for each, the scale that fits the rounded
   numbers best is the least-squares one, and the range with the smallest weighted error wins. The weight of an
   error is |w| + rms(block), so that large weights count more, as in llama.cpp's k-quants.
3. At 8 bits the block's own range is kept and only the fit is done: there is nothing left to win.
4. Two numbers share a byte at 4 bits, the first in the low half.
"""

from dataclasses import dataclass

import numpy as np

# What the largest number of a block may be rounded to, as a share of the range: below 1 it is cut off.
_RANGES = {4: np.linspace(0.70, 1.10, 11, dtype=np.float32), 8: np.ones(1, np.float32)}
_ROWS_AT_ONCE = 1 << 17  # numbers: what keeps the search inside a core's second-level cache


@dataclass(frozen=True)
class Blocks:
    """A matrix of `rows` x `columns` in `bits` bits, laid out as the operator MatMulNBits reads it.

    `packed` is uint8 [rows, blocks, block_size * bits / 8], `scales` float32 [rows, blocks], `zero_points` packed
    uint8 [rows, ceil(blocks * bits / 8)], or None where all of them are 2^(bits - 1).
    """

    packed: np.ndarray
    scales: np.ndarray
    zero_points: np.ndarray | None
    bits: int
    columns: int

    def dequantized(self) -> np.ndarray:
        """Return the matrix that the packed numbers stand for, float32 [rows, columns]."""
        rows, blocks = self.scales.shape
        whole = _unpacked(self.packed, self.bits).astype(np.float32)
        zero = np.float32(1 << self.bits - 1)
        if self.zero_points is not None:
            zero = _unpacked(self.zero_points, self.bits)[:, :blocks, None].astype(np.float32)
        return ((whole - zero) * self.scales[:, :, None]).reshape(rows, -1)[:, : self.columns]


def quantize_blocks(matrix: np.ndarray, *, bits: int, block_size: int, symmetric: bool = False) -> Blocks:
    """Quantize float32 [rows, columns] along its rows, `bits` 4 or 8."""
    rows, columns = matrix.shape
    blocks = -(-columns // block_size)
    whole = np.empty((rows, blocks, block_size), np.uint8)
    scales = np.empty((rows, blocks), np.float32)
    zeros = np.empty((rows, blocks), np.uint8)
    step = max(1, _ROWS_AT_ONCE // (blocks * block_size))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        numbers = np.pad(matrix[part].astype(np.float32), ((0, 0), (0, blocks * block_size - columns)))
        numbers = numbers.reshape(-1, blocks, block_size)
        whole[part], scales[part], zeros[part] = _search(numbers, bits, symmetric=symmetric)
    return Blocks(_packed(whole, bits), scales, None if symmetric else _packed(zeros, bits), bits, columns)


def _search(numbers: np.ndarray, bits: int, *, symmetric: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rounded numbers, the scales and the zero points of the best range of each block."""
    weight = np.abs(numbers)
    weight += np.sqrt(np.mean(np.square(numbers), axis=-1, keepdims=True))
    spread = _symmetric_scale if symmetric else _asymmetric_scale
    best = _attempt(numbers, weight, *spread(numbers, bits, _RANGES[bits][0]), bits)
    for share in _RANGES[bits][1:]:
        found = _attempt(numbers, weight, *spread(numbers, bits, share), bits)
        better = found[0] > best[0]
        best = [np.where(better, new, old) for new, old in zip(found, best, strict=True)]
    _, whole, scale, zero = best
    return whole.astype(np.uint8), scale[..., 0], np.broadcast_to(zero, scale.shape)[..., 0].astype(np.uint8)


def _attempt(
    numbers: np.ndarray, weight: np.ndarray, scale: np.ndarray, zero: np.ndarray, bits: int
) -> list[np.ndarray]:
    """Round with this scale and zero point; return what it explains, the rounded numbers, the scale that fits them."""
    whole = np.clip(np.rint(numbers / scale) + zero, 0, (1 << bits) - 1)
    scale, gain = _fit(numbers, whole - zero, weight, scale)
    return [gain, whole, scale, zero]


def _symmetric_scale(numbers: np.ndarray, bits: int, share: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Map the number farthest from zero to the end of the range that is one step longer, with the sign that takes."""
    half = np.float32(1 << bits - 1)
    farthest = np.take_along_axis(numbers, np.abs(numbers).argmax(axis=-1, keepdims=True), axis=-1)
    return _nonzero(farthest * (-share / half)), np.broadcast_to(half, farthest.shape)


def _asymmetric_scale(numbers: np.ndarray, bits: int, share: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Spread the range over the block's own, which is made to hold zero: the zero point is a whole number."""
    steps = np.float32((1 << bits) - 1)
    low = np.minimum(numbers.min(axis=-1, keepdims=True), 0) * share
    high = np.maximum(numbers.max(axis=-1, keepdims=True), 0) * share
    scale = _nonzero((high - low) / steps)
    return scale, np.clip(np.rint(-low / scale), 0, steps)


def _fit(numbers: np.ndarray, whole: np.ndarray, weight: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the least-squares scale of numbers = whole * scale and by how much it explains the numbers."""
    weighted = weight * whole
    cross = (weighted * numbers).sum(axis=-1, keepdims=True)
    square = (weighted * whole).sum(axis=-1, keepdims=True)
    some = square > 0
    divisor = np.where(some, square, np.float32(1))
    return np.where(some, cross / divisor, scale).astype(np.float32), np.square(cross) / divisor


def _nonzero(scale: np.ndarray) -> np.ndarray:
    return np.where(np.abs(scale) > np.finfo(np.float32).tiny, scale, np.float32(1)).astype(np.float32)


def _packed(whole: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8:
        return whole
    if whole.shape[-1] % 2:
        whole = np.pad(whole, [(0, 0)] * (whole.ndim - 1) + [(0, 1)])
    return whole[..., ::2] | whole[..., 1::2] << 4


def _unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    if bits == 8:
        return packed
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
