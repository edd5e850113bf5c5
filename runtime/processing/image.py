"""Images in: what transformers' image processors compute, on Pillow and numpy, from a saved preprocessor_config.json.

Knows processors by class name, as rows of steps, and no model type. Every step before the values acts on 8-bit
pixels, so rescaling and normalizing is one table of 256 entries per channel: exact, and faster than the arithmetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import IntegrityError, UnsupportedError, UsageError
from .image_settings import SETTING_NAMES, ImageSettings, Shape, checked_settings, read_config, resized_shape
from .image_source import MAX_PIXELS, as_rgb, image_from_array

if TYPE_CHECKING:
    import PIL.Image

CONFIG_NAME = "preprocessor_config.json"

Operation = tuple[Literal["resize", "crop"], Shape]
"""One change of the pixels, and the shape that it gives."""


def _resize(settings: ImageSettings, shape: Shape) -> list[Operation]:
    if not settings.do_resize or settings.size is None:
        return []
    return [("resize", resized_shape(settings.size, shape))]


def _center_crop(settings: ImageSettings, shape: Shape) -> list[Operation]:
    if not settings.do_center_crop or settings.crop_size is None:
        return []
    return [("crop", resized_shape(settings.crop_size, shape))]


def _resize_by_crop_pct(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """ConvNeXT's: below 384 resize to shortest_edge / crop_pct and crop the rest, from 384 on warp to the square."""
    if not settings.do_resize or settings.size is None:
        return []
    edge = settings.size.get("shortest_edge")
    if edge is None:
        raise UsageError(f"size is {dict(settings.size)} (allowed for this processor: shortest_edge)")
    if edge >= 384:
        return [("resize", (edge, edge))]
    return [
        ("resize", resized_shape({"shortest_edge": int(edge / settings.crop_pct)}, shape)),
        ("crop", (edge, edge)),
    ]


def _rescale(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    if not settings.do_rescale or settings.rescale_factor is None:
        return values
    return (values.astype(np.float64) * settings.rescale_factor).astype(np.float32)


def _rescale_with_offset(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    rescaled = _rescale(settings, values)
    return rescaled - np.float32(1) if settings.do_rescale and settings.rescale_offset else rescaled


def _normalize(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    if not settings.do_normalize:
        return values
    mean, std = (np.array(numbers, np.float32)[:, None] for numbers in (settings.image_mean, settings.image_std))
    return (values - mean) / std


def _divide_by_std(settings: ImageSettings, values: np.ndarray) -> np.ndarray:
    """EfficientNet's second normalization, with mean 0, for classification."""
    return values / np.array(settings.image_std, np.float32)[:, None] if settings.include_top else values


@dataclass(frozen=True)
class Steps:
    """What one processor class does, in order: to the pixels, then to the values; each step looks at its own flag."""

    pixels: tuple[Callable[[ImageSettings, Shape], list[Operation]], ...] = (_resize, _center_crop)
    values: tuple[Callable[[ImageSettings, np.ndarray], np.ndarray], ...] = (_rescale, _normalize)
    flips: bool = False
    pads: bool = False


PROCESSORS: dict[str, Steps] = {
    "BeitImageProcessor": Steps(),
    "BitImageProcessor": Steps(pads=True),
    "BlipImageProcessor": Steps(pads=True),
    "CLIPImageProcessor": Steps(pads=True),
    "ChineseCLIPImageProcessor": Steps(pads=True),
    "ConvNextImageProcessor": Steps(pixels=(_resize_by_crop_pct, _center_crop)),
    "DeiTImageProcessor": Steps(pads=True),
    "EfficientNetImageProcessor": Steps(values=(_rescale_with_offset, _normalize, _divide_by_std)),
    "MobileNetV1ImageProcessor": Steps(pads=True),
    "MobileNetV2ImageProcessor": Steps(),
    "MobileViTImageProcessor": Steps(values=(_rescale,), flips=True),
    "PvtImageProcessor": Steps(pads=True),
    "SegformerImageProcessor": Steps(pixels=(_resize,)),
    "SiglipImageProcessor": Steps(pads=True),
    "ViTImageProcessor": Steps(pads=True),
}
"""transformers' class names without the suffix of a backend."""


@dataclass(frozen=True)
class ImageProcessor:
    """One saved image processor; call it on images to get the graph's inputs."""

    name: str
    settings: ImageSettings

    @classmethod
    def from_folder(cls, folder: Path) -> "ImageProcessor":
        """Read preprocessor_config.json. Raises IntegrityError where it is broken, UnsupportedError for its class."""
        path = folder / CONFIG_NAME
        config = read_config(path)
        name = str(config.get("image_processor_type")).removesuffix("Fast").removesuffix("Pil")
        if name not in PROCESSORS:
            raise UnsupportedError(f"image processor '{name}' is not supported (supported: {', '.join(PROCESSORS)})")
        try:
            processor = cls(name=name, settings=ImageSettings(**checked_settings(config)))
            processor.output_size(64, 64)  # what the class does not take is said now, not at the first image
        except UsageError as error:
            raise IntegrityError(f"{path}: {error}") from error
        return processor

    def with_settings(self, values: Mapping[str, Any]) -> "ImageProcessor":
        """Return a processor with some settings replaced. Raises UsageError for unknown names and bad values."""
        unknown = sorted(set(values) - set(SETTING_NAMES))
        if unknown:
            raise UsageError(f"unknown image processor setting '{unknown[0]}' (allowed: {', '.join(SETTING_NAMES)})")
        square = self.settings.default_to_square
        return replace(self, settings=replace(self.settings, **checked_settings(values, square=square)))

    def output_size(self, height: int, width: int) -> Shape:
        """Return the height and width that an image of this size gets, before padding to its batch."""
        shape = _last_shape(self._plan((height, width)), (height, width))
        padded = self.settings.pad_size if self._pads else None
        return shape if padded is None else resized_shape(padded, shape)

    def __call__(self, images: Any, **settings: Any) -> dict[str, np.ndarray]:
        """Return {"pixel_values": float32 [batch, 3, height, width]} of one image or a sequence of them.

        An image is a Pillow image or an array that `image_from_array` takes. `settings` replace the saved ones for
        this call. Where transformers fails or computes something else: without `do_convert_rgb`, gray and transparent
        images are converted as `load_image` does, and floats 0..1 mean the pixels 0..255 (it rescales them twice).
        Raises UsageError for what is no image, and for images that cannot form one batch.
        """
        if settings:
            return self.with_settings(settings)(images)
        pixels = [self._pixels(image) for image in _listed(images)]
        height, width = self._batch_shape([(array.shape[0], array.shape[1]) for array in pixels])
        tables = self._tables()
        batch = np.zeros((len(pixels), 3, height, width), np.float32)
        order = (2, 1, 0) if PROCESSORS[self.name].flips and self.settings.do_flip_channel_order else (0, 1, 2)
        for row, array in zip(batch, pixels, strict=True):
            for plane, channel in zip(row, order, strict=True):
                view = plane[: array.shape[0], : array.shape[1]]
                np.take(tables[channel], array[..., channel], out=view, mode="clip")  # clip skips a buffer
        return {"pixel_values": batch}

    @property
    def _pads(self) -> bool:
        return PROCESSORS[self.name].pads and self.settings.do_pad

    def _plan(self, shape: Shape) -> list[Operation]:
        plan: list[Operation] = []
        for step in PROCESSORS[self.name].pixels:
            for operation in step(self.settings, _last_shape(plan, shape)):
                _check_operation(operation, _last_shape(plan, shape))
                plan.append(operation)
        return plan

    def _pixels(self, image: Any) -> np.ndarray:
        """Return uint8 [height, width, 3]."""
        picture = image_from_array(image) if isinstance(image, np.ndarray) else image
        if not hasattr(picture, "getbands"):
            raise UsageError(f"an image processor takes Pillow images and arrays, not {type(image).__name__}")
        picture = as_rgb(picture, on_white=self.settings.do_convert_rgb)
        for operation, shape in self._plan((picture.height, picture.width)):
            picture = (
                _resized(picture, shape, self.settings.resample) if operation == "resize" else _cropped(picture, shape)
            )
        return np.asarray(picture)

    def _batch_shape(self, shapes: list[Shape]) -> Shape:
        largest = max(height for height, _ in shapes), max(width for _, width in shapes)
        if self._pads:
            target = largest if self.settings.pad_size is None else resized_shape(self.settings.pad_size, largest)
            if target[0] < largest[0] or target[1] < largest[1]:
                raise UsageError(f"an image of {largest} (height, width) does not fit into pad_size {target}")
            return target
        if len(set(shapes)) > 1:
            raise UsageError(f"images of sizes {sorted(set(shapes))} cannot form one batch; use batch_size=1")
        return largest

    def _tables(self) -> np.ndarray:
        """Return float32 [3, 256]: what each value of each channel becomes."""
        values = np.tile(np.arange(256, dtype=np.float32), (3, 1))
        for step in PROCESSORS[self.name].values:
            values = step(self.settings, values)
        return values


def _listed(images: Any) -> list[Any]:
    """Return a list of images: of one, of a sequence, or of an array [batch, ...] of 4 dimensions."""
    batched = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
    listed = list(images) if batched else [images]
    if not listed:
        raise UsageError("an image processor takes at least one image, got none")
    return listed


def _last_shape(plan: list[Operation], shape: Shape) -> Shape:
    return plan[-1][1] if plan else shape


def _check_operation(operation: Operation, before: Shape) -> None:
    """Refuse, before anything is allocated, shapes that an image of extreme proportions would get."""
    name, (height, width) = operation
    if height < 1 or width < 1:
        raise UsageError(f"an image of {before[0]} x {before[1]} (height x width) has no pixel left after {name}")
    # Pillow resizes rows first, so it holds the old height at the new width.
    if max(height, before[0] if name == "resize" else 0) * width > MAX_PIXELS:
        raise UsageError(
            f"an image of {before[0]} x {before[1]} (height x width) would become {height} x {width} "
            f"by {name} (allowed: {MAX_PIXELS} pixels on the way)"
        )


def _resized(picture: "PIL.Image.Image", shape: Shape, resample: int | None) -> "PIL.Image.Image":
    return picture.resize((shape[1], shape[0]), resample=resample)


def _cropped(picture: "PIL.Image.Image", shape: Shape) -> "PIL.Image.Image":
    """Cut out the middle, black where the picture is smaller; an odd pixel more goes to the bottom right."""
    top, left = (picture.height - shape[0]) // 2, (picture.width - shape[1]) // 2
    return picture.crop((left, top, left + shape[1], top + shape[0]))
