"""What a preprocessor_config.json says: its settings, checked and bounded, and the shapes that its sizes mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from ...errors import UnsupportedError, UsageError
from ...json_files import brief
from ..preprocessor_config import Check, checked, count, flag, number

MAX_SIDE = 8192
"""The longest side, in pixels, that a configuration may ask for."""

MAX_PATCHES = 2**16
"""The most patches that a configuration may ask for."""

Size = Mapping[str, int]
Shape = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True)
class ImageSettings:
    """What a processor's configuration says, under transformers' names; a step whose flag is off needs nothing.

    A size is {height, width}, {shortest_edge}, {shortest_edge, longest_edge} or {max_height, max_width};
    `resample` is Pillow's number of a filter; mean and std have one value per channel. `max_patches` and `patch_size`
    (in pixels) are of processors that cut images into patches.
    """

    do_convert_rgb: bool = False
    do_resize: bool = False
    size: Size | None = None
    default_to_square: bool = True
    resample: int | None = None
    crop_pct: float = 224 / 256
    do_center_crop: bool = False
    crop_size: Size | None = None
    do_rescale: bool = False
    rescale_factor: float | None = None
    rescale_offset: bool = False
    do_normalize: bool = False
    image_mean: tuple[float, ...] | None = None
    image_std: tuple[float, ...] | None = None
    include_top: bool = False
    do_flip_channel_order: bool = False
    do_pad: bool = False
    pad_size: Size | None = None
    do_align_long_axis: bool = False
    do_thumbnail: bool = False
    max_patches: int = 2048
    patch_size: Size = field(default_factory=lambda: {"height": 16, "width": 16})
    is_vqa: bool = False
    header_text: None = None

    def require(self, needs: Mapping[str, Sequence[str]]) -> None:
        """Raise UsageError where a flag is on and a setting that it needs is not there."""
        for name, needed in needs.items():
            missing = [other for other in needed if getattr(self, name) and getattr(self, other) is None]
            if missing:
                raise UsageError(f"{name} is true, but {' and '.join(missing)} is not set")


def _fraction(name: str, value: Any) -> float:
    if not 0 < number(name, value) <= 1:
        raise UsageError(f"{name} is {brief(value)} (allowed: more than 0, at most 1)")
    return value


def _channels(name: str, value: Any) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    if len(values) != 3 or (name == "image_std" and 0 in values):
        raise UsageError(f"{name} is {brief(value)} (allowed: a number, or one per channel of 3; no zero as std)")
    return tuple(number(name, each) for each in values)


def _size(name: str, value: Any) -> Size:
    if isinstance(value, int):
        value = {"height": value, "width": value}
    elif isinstance(value, list | tuple) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    allowed = _SIZINGS if name == "size" else [frozenset(("height", "width"))]
    if not isinstance(value, Mapping) or frozenset(value) not in allowed:
        forms = ", ".join("{" + ", ".join(sorted(form)) + "}" for form in allowed)
        raise UsageError(f"{name} is {brief(value)} (allowed: {forms})")
    for edge in value.values():
        if isinstance(edge, bool) or not isinstance(edge, int) or not 1 <= edge <= MAX_SIDE:
            raise UsageError(f"{name} is {brief(dict(value))} (allowed: whole numbers from 1 to {MAX_SIDE})")
    return dict(value)


def _no_header(name: str, value: Any) -> bool:
    if value is not False:
        raise UnsupportedError(
            f"{name} is {brief(value)}: questions drawn above an image are not supported, because their font (Arial) "
            "is not part of a checkpoint. Use a model without, or set is_vqa to false and draw them yourself"
        )
    return value


SETTING_NAMES = tuple(item.name for item in fields(ImageSettings))
_CHECKS: dict[str, Check] = {
    **dict.fromkeys(SETTING_NAMES, flag),
    **dict.fromkeys(("size", "crop_size", "pad_size", "patch_size"), _size),
    **dict.fromkeys(("image_mean", "image_std"), _channels),
    **dict.fromkeys(("is_vqa", "header_text"), _no_header),
    "resample": partial(count, allowed=range(6)),  # Pillow's filters
    "crop_pct": _fraction,
    "rescale_factor": number,
    "max_patches": partial(count, allowed=range(1, MAX_PATCHES + 1)),
}


def checked_settings(config: Mapping[str, Any], *, square: bool = True, width_first: bool = False) -> dict[str, Any]:
    """Return the settings among the values, checked; null means unset, other names belong to other programs.

    A whole number as `size` is a square's side, or the shortest edge where neither the values nor `square` say so;
    a pair is [height, width] unless `width_first`.
    """
    if config.get("default_to_square") is not None:
        square = bool(config["default_to_square"])
    size = config.get("size")
    if isinstance(size, int) and not square:
        config = {**config, "size": {"shortest_edge": size}}
    if isinstance(size, list | tuple) and width_first:
        config = {**config, "size": size[::-1]}
    return checked(config, _CHECKS)


def _exactly(size: Size, _shape: Shape) -> Shape:
    return size["height"], size["width"]


def _shortest_edge(size: Size, shape: Shape) -> Shape:
    edge = size["shortest_edge"]
    longer = int(edge * max(shape) / min(shape))
    return (longer, edge) if shape[1] <= shape[0] else (edge, longer)


def _both_edges(size: Size, shape: Shape) -> Shape:
    """Bring the shorter side to `shortest_edge`, or less where the longer one would pass `longest_edge`."""
    edge, limit = size["shortest_edge"], size["longest_edge"]
    exact: float = edge
    if max(shape) / min(shape) * edge > limit:
        exact = limit * float(min(shape)) / max(shape)
        edge = round(exact)
    if min(shape) == edge:
        return shape
    longer = int(exact * max(shape) / min(shape))
    return (longer, edge) if shape[1] < shape[0] else (edge, longer)


def _within(size: Size, shape: Shape) -> Shape:
    scale = min(size["max_height"] / shape[0], size["max_width"] / shape[1])
    return int(shape[0] * scale), int(shape[1] * scale)


_SIZINGS: dict[frozenset[str], Callable[[Size, Shape], Shape]] = {
    frozenset(("height", "width")): _exactly,
    frozenset(("shortest_edge",)): _shortest_edge,
    frozenset(("shortest_edge", "longest_edge")): _both_edges,
    frozenset(("max_height", "max_width")): _within,
}


def resized_shape(size: Size, shape: Shape) -> Shape:
    """Return the height and width that an image of `shape` gets by a size in any of its forms."""
    return _SIZINGS[frozenset(size)](size, shape)
