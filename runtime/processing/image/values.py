"""Pixels to `pixel_values`: rescaled, normalized, channels first, padded to one batch.

Values come from 8-bit pixels, so rescaling and normalizing is one table of 256 entries per channel: exact, and faster
than the arithmetic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import UsageError
from .settings import ImageSettings, Shape, resized_shape

Values = Callable[[ImageSettings, np.ndarray], np.ndarray]
"""Changes values, float32 [3, 256]; each looks at its own flag."""


def rescale(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    """Multiply by `rescale_factor`."""
    if not settings.do_rescale or settings.rescale_factor is None:
        return values
    return (values.astype(np.float64) * settings.rescale_factor).astype(np.float32)


def rescale_with_offset(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    """Rescale, and with `rescale_offset` to -1..1."""
    rescaled = rescale(settings, values)
    return rescaled - np.float32(1) if settings.do_rescale and settings.rescale_offset else rescaled


def normalize(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    """Subtract each channel's mean, divide by its std."""
    if not settings.do_normalize:
        return values
    mean, std = (np.array(numbers, np.float32)[:, None] for numbers in (settings.image_mean, settings.image_std))
    return (values - mean) / std


def divide_by_std(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    """EfficientNet's second normalization, with mean 0, for classification."""
    return values / np.array(settings.image_std, np.float32)[:, None] if settings.include_top else values


@dataclass(frozen=True)
class PixelValues:
    """What most processors make: `pixel_values`, by the values' steps; `flips` and `pads` where their flags say so."""

    values: tuple[Values, ...] = (rescale, normalize)
    flips: bool = False
    pads: bool = False

    def size(self, settings: ImageSettings, shape: Shape) -> Shape:
        """Return the height and width that an image of this shape gets, before padding to its batch."""
        padded = settings.pad_size if self.pads and settings.do_pad else None
        return shape if padded is None else resized_shape(padded, shape)

    def arrays(self, settings: ImageSettings, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return float32 [batch, 3, height, width] of pictures, uint8 [height, width, 3] each."""
        height, width = self._batch_shape(settings, [(array.shape[0], array.shape[1]) for array in pictures])
        table = self._table(settings)
        batch = np.zeros((len(pictures), 3, height, width), np.float32)
        order = (2, 1, 0) if self.flips and settings.do_flip_channel_order else (0, 1, 2)
        for row, array in zip(batch, pictures, strict=True):
            for plane, channel in zip(row, order, strict=True):
                view = plane[: array.shape[0], : array.shape[1]]
                np.take(table[channel], array[..., channel], out=view, mode="clip")  # clip skips a buffer
        return {"pixel_values": batch}

    def _table(self, settings: ImageSettings) -> np.ndarray:
        """Return float32 [3, 256]: what each value of each channel becomes."""
        values = np.tile(np.arange(256, dtype=np.float32), (3, 1))
        for step in self.values:
            values = step(settings, values)
        return values

    def _batch_shape(self, settings: ImageSettings, shapes: list[Shape]) -> Shape:
        largest = max(height for height, _ in shapes), max(width for _, width in shapes)
        if self.pads and settings.do_pad:
            target = self.size(settings, largest)
            if target[0] < largest[0] or target[1] < largest[1]:
                raise UsageError(f"an image of {largest} (height, width) does not fit into pad_size {target}")
            return target
        if len(set(shapes)) > 1:
            raise UsageError(f"images of sizes {sorted(set(shapes))} cannot form one batch; use batch_size=1")
        return largest
