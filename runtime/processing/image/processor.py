"""Images in: what transformers' image processors compute, on Pillow and numpy, from a saved preprocessor_config.json.

Knows processors by class name, as rows of steps, and no model type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import IntegrityError, UsageError
from ..class_defaults import image_processor_class, image_processor_defaults, model_config
from ..preprocessor_config import CONFIG_NAME, known_class, read_config
from .patches import FlattenedPatches
from .settings import SETTING_NAMES, ImageSettings, Shape, checked_settings
from .source import as_rgb, image_from_array
from .steps import (
    OPERATIONS,
    Operation,
    Step,
    align_long_axis,
    center_crop,
    last_shape,
    pad_to_page,
    planned,
    resize,
    resize_by_crop_pct,
    resize_to_short_side,
    thumbnail,
)
from .values import PixelValues, divide_by_std, normalize, rescale, rescale_with_offset

NEEDS = {
    "do_resize": ("size", "resample"),
    "do_center_crop": ("crop_size",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
    "include_top": ("image_std",),
}

_VALUES = PixelValues()


@dataclass(frozen=True)
class Steps:
    """What one processor class does: to the pixels, in order, then what it makes of them for the graph.

    `needs` are the settings without which a flag cannot be on; `width_first` says how it reads a pair as `size`.
    """

    pixels: tuple[Step, ...] = (resize, center_crop)
    output: PixelValues | FlattenedPatches = _VALUES
    needs: Mapping[str, Sequence[str]] = field(default_factory=lambda: NEEDS)
    width_first: bool = False


_PADDED = Steps(output=PixelValues(pads=True))
_PAGE_STEPS = (align_long_axis, resize_to_short_side, thumbnail, pad_to_page, center_crop)

PROCESSORS: dict[str, Steps] = {
    "BeitImageProcessor": Steps(),
    "BitImageProcessor": _PADDED,
    "BlipImageProcessor": _PADDED,
    "CLIPImageProcessor": _PADDED,
    "ChineseCLIPImageProcessor": _PADDED,
    "ConvNextImageProcessor": Steps(pixels=(resize_by_crop_pct, center_crop)),
    "DeiTImageProcessor": _PADDED,
    "DonutImageProcessor": Steps(pixels=_PAGE_STEPS, width_first=True),
    "EfficientNetImageProcessor": Steps(output=PixelValues(values=(rescale_with_offset, normalize, divide_by_std))),
    "MobileNetV1ImageProcessor": _PADDED,
    "MobileNetV2ImageProcessor": Steps(),
    "MobileViTImageProcessor": Steps(output=PixelValues(values=(rescale,), flips=True)),
    "Pix2StructImageProcessor": Steps(pixels=(), output=FlattenedPatches(), needs={}),
    "PvtImageProcessor": _PADDED,
    "SegformerImageProcessor": Steps(pixels=(resize,)),
    "SiglipImageProcessor": _PADDED,
    "ViTImageProcessor": _PADDED,
}
"""transformers' class names without the suffix of a backend."""


@dataclass(frozen=True)
class ImageProcessor:
    """One saved image processor; call it on images to get the graph's inputs."""

    name: str
    settings: ImageSettings

    def __post_init__(self) -> None:
        self.settings.require(self.steps.needs)

    @classmethod
    def from_folder(cls, folder: Path) -> "ImageProcessor":
        """Read preprocessor_config.json; what it leaves out is as transformers' class has it.

        Raises IntegrityError where it is broken, UnsupportedError for its class, or where it asks for questions that
        are drawn above the images (Pix2Struct's `is_vqa`): transformers downloads the font for them from the Hub.
        """
        config = read_config(folder, of="images", part="image_processor")
        found = image_processor_class(config, model_config(folder))
        name = known_class(found, PROCESSORS, what="image processor")
        defaults = image_processor_defaults(name)
        try:
            # A flag that is null is off, one that is absent is the class's.
            settings = checked_settings({**defaults, **config}, width_first=PROCESSORS[name].width_first)
            processor = cls(name=name, settings=ImageSettings(**settings))
            processor.output_size(1, 1)  # what the class does not take is said now, not at the first image
        except UsageError as error:
            raise IntegrityError(f"{folder / CONFIG_NAME}: {error}") from error
        return processor

    @property
    def steps(self) -> Steps:
        """The row of this processor's class."""
        return PROCESSORS[self.name]

    def with_settings(self, values: Mapping[str, Any]) -> "ImageProcessor":
        """Return a processor with some settings replaced. Raises UsageError for unknown names and bad values."""
        unknown = sorted(set(values) - set(SETTING_NAMES))
        if unknown:
            raise UsageError(f"unknown image processor setting '{unknown[0]}' (allowed: {', '.join(SETTING_NAMES)})")
        square = self.settings.default_to_square
        changes = checked_settings(values, square=square, width_first=self.steps.width_first)
        return replace(self, settings=replace(self.settings, **changes))

    def output_size(self, height: int, width: int) -> Shape:
        """Return the height and width that an image of this size gets, before padding to its batch."""
        shape = last_shape(self._plan((height, width)), (height, width))
        return self.steps.output.size(self.settings, shape)

    def __call__(self, images: Any, **settings: Any) -> dict[str, np.ndarray]:
        """Return the graph's inputs of one image or a sequence of them, by name.

        They are `pixel_values`, float32 [batch, 3, height, width], or what `FlattenedPatches.arrays` returns.
        An image is a Pillow image or an array that `image_from_array` takes. `settings` replace the saved ones for
        this call. Where transformers fails or computes something else: without `do_convert_rgb`, gray and transparent
        images are converted as `load_image` does, and floats 0..1 mean the pixels 0..255 (it rescales them twice).
        Raises UsageError for what is no image, and for images that cannot form one batch.
        """
        if settings:
            return self.with_settings(settings)(images)
        return self.steps.output.arrays(self.settings, [self._pixels(image) for image in _listed(images)])

    def _plan(self, shape: Shape) -> list[Operation]:
        return planned(self.steps.pixels, self.settings, shape)

    def _pixels(self, image: Any) -> np.ndarray:
        """Return uint8 [height, width, 3]."""
        picture = image_from_array(image) if isinstance(image, np.ndarray) else image
        if not hasattr(picture, "getbands"):
            raise UsageError(f"an image processor expects Pillow images and arrays, not {type(image).__name__}")
        picture = as_rgb(picture, on_white=self.settings.do_convert_rgb)
        for name, shape in self._plan((picture.height, picture.width)):
            picture = OPERATIONS[name](picture, shape, self.settings)
        return np.asarray(picture)


def _listed(images: Any) -> list[Any]:
    """Return a list of images: of one, of a sequence, or of an array [batch, ...] of 4 dimensions."""
    batched = isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)
    listed = list(images) if batched else [images]
    if not listed:
        raise UsageError("an image processor expects at least one image, got none")
    return listed
