"""Pixels to `flattened_patches`: as many patches of an image as a model takes, at the image's own proportions.

Pix2Struct's (arXiv:2210.03347, section 2.1). Resizing is PyTorch's bilinear interpolation with antialiasing, on floats:
one axis after the other, each new value a mean of the old ones under a triangle as wide as the change of scale.
"""

import math
from collections.abc import Sequence

import numpy as np

from ...errors import UsageError
from .effort import MAX_PIXELS
from .settings import ImageSettings, Shape
from .steps import check_change


class FlattenedPatches:
    """What Pix2Struct's processor makes of an image, and a mask of which rows are patches of it."""

    def size(self, settings: ImageSettings, shape: Shape) -> Shape:
        """Return the height and width that an image of this shape gets before it is cut."""
        height, width = settings.patch_size["height"], settings.patch_size["width"]
        if settings.max_patches * height * width > MAX_PIXELS:
            raise UsageError(
                f"{settings.max_patches} patches of {height} x {width} pixels are too many (allowed: {MAX_PIXELS} "
                "pixels together)"
            )
        rows, columns = _grid(settings, shape)
        return rows * height, columns * width

    def arrays(self, settings: ImageSettings, pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return patches of pictures, uint8 [height, width, 3] each.

        `flattened_patches` is float32 [batch, max_patches, 2 + patch height * patch width * 3]: a patch's row and
        column, from 1 on, then its values, rows of pixels first, channels last; zeros after an image's last patch.
        `attention_mask` is float32 [batch, max_patches]: 1 for a patch, 0 for what follows them (transformers says 0
        of a patch whose numbers happen to sum to 0, too).
        """
        depth = settings.patch_size["height"] * settings.patch_size["width"] * 3
        made = np.zeros((len(pictures), settings.max_patches, 2 + depth), np.float32)
        mask = np.zeros(made.shape[:2], np.float32)
        for row, known, picture in zip(made, mask, pictures, strict=True):
            patches = self._patches(settings, picture)
            row[: len(patches)], known[: len(patches)] = patches, 1
        return {"flattened_patches": made, "attention_mask": mask}

    def _patches(self, settings: ImageSettings, picture: np.ndarray) -> np.ndarray:
        shape = picture.shape[0], picture.shape[1]
        size = self.size(settings, shape)
        check_change("resize", shape, size)
        values = picture.astype(np.float32)
        values = resized(_standardized(values) if settings.do_normalize else values, size)
        height, width = settings.patch_size["height"], settings.patch_size["width"]
        rows, columns = size[0] // height, size[1] // width
        cut = values.reshape(rows, height, columns, width, 3).swapaxes(1, 2).reshape(rows * columns, -1)
        places = np.indices((rows, columns)).reshape(2, -1).T + 1
        return np.concatenate([places.astype(np.float32), cut], axis=1)


def _grid(settings: ImageSettings, shape: Shape) -> Shape:
    """Return how many rows and columns of patches fit `max_patches` best at an image's proportions."""
    most, height, width = settings.max_patches, settings.patch_size["height"], settings.patch_size["width"]
    scale = (most * (height / shape[0]) * (width / shape[1])) ** 0.5
    rows, columns = int(scale * shape[0] / height), int(scale * shape[1] / width)
    return max(min(rows, most), 1), max(min(columns, most), 1)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Return values with mean 0 and variance 1 over the whole image; one of one colour becomes 0."""
    spread = max(float(np.std(values)), 1 / math.sqrt(values.size))
    return (values - np.mean(values)) / np.float32(spread)


def resized(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Return float32 [height, width, channels] of another height and width, bilinear and antialiased.

    Equal to `torch.nn.functional.interpolate` but for the order of sums: 5e-7 for values of about 1.
    """
    across = _resized_rows(values.swapaxes(0, 1), shape[1])
    return _resized_rows(across.swapaxes(0, 1), shape[0])


def _resized_rows(values: np.ndarray, new: int) -> np.ndarray:
    """Return float32 [new, ...] of [old, ...]; row by row, so that no table of weights grows with an image's length."""
    old, rest = values.shape[0], values.shape[1:]
    flat = np.ascontiguousarray(values).reshape(old, -1)
    made = np.empty((new, flat.shape[1]), np.float32)
    scale = np.float32(old) / np.float32(new)
    support = max(float(scale), 1.0)
    for index, row in enumerate(made):
        center = float(np.float32(float(scale) * (index + 0.5)))  # float32 as PyTorch's: it moves the weights
        first = max(int(center - support + 0.5), 0)
        end = min(int(center + support + 0.5), old)
        weights = np.maximum(1 - np.abs(np.arange(first, end) + 0.5 - center) / support, 0)
        np.matmul((weights / weights.sum()).astype(np.float32), flat[first:end], out=row)
    return made.reshape(new, *rest)
