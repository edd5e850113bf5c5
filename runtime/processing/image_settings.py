"""What a preprocessor_config.json says: its settings, checked and bounded, and the shapes that its sizes mean."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import IntegrityError, UsageError

MAX_SIDE = 8192
"""The longest side, in pixels, that a configuration may ask for."""

_MAX_NUMBER = 1e30  # fits float32, and is refused by comparison: JSON has NaN, Infinity and integers of any length

Size = Mapping[str, int]
Shape = tuple[int, int]
"""Height and width, in pixels."""


@dataclass(frozen=True)
class ImageSettings:
    """What a processor's configuration says, under transformers' names; a step whose flag is off needs nothing.

    A size is {height, width}, {shortest_edge}, {shortest_edge, longest_edge} or {max_height, max_width};
    `resample` is Pillow's number of a filter; mean and std have one value per channel.
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

    def __post_init__(self) -> None:
        for flag, needed in _NEEDS.items():
            missing = [name for name in needed if getattr(self, flag) and getattr(self, name) is None]
            if missing:
                raise UsageError(f"{flag} is true, but {' and '.join(missing)} is not set")


_NEEDS = {
    "do_resize": ("size", "resample"),
    "do_center_crop": ("crop_size",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
    "include_top": ("image_std",),
}


def _flag(name: str, value: Any, _square: bool) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r} (allowed: true, false)")
    return value


def _number(name: str, value: Any, _square: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise UsageError(f"{name} is {value!r:.40} (allowed: a finite number of at most {_MAX_NUMBER:g})")
    return value


def _fraction(name: str, value: Any, square: bool) -> float:
    if not 0 < _number(name, value, square) <= 1:
        raise UsageError(f"{name} is {value!r} (allowed: more than 0, at most 1)")
    return value


def _filter(name: str, value: Any, _square: bool) -> int:
    if isinstance(value, bool) or value not in range(6):
        raise UsageError(f"{name} is {value!r} (allowed: 0 to 5, Pillow's filters)")
    return int(value)


def _channels(name: str, value: Any, square: bool) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    if len(values) != 3 or (name == "image_std" and 0 in values):
        raise UsageError(f"{name} is {value!r} (allowed: a number, or one per channel of 3; no zero as std)")
    return tuple(_number(name, number, square) for number in values)


def _size(name: str, value: Any, square: bool) -> Size:
    if isinstance(value, int):
        value = {"height": value, "width": value} if square or name != "size" else {"shortest_edge": value}
    elif isinstance(value, list | tuple) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    allowed = _SIZINGS if name == "size" else [frozenset(("height", "width"))]
    if not isinstance(value, Mapping) or frozenset(value) not in allowed:
        forms = ", ".join("{" + ", ".join(sorted(form)) + "}" for form in allowed)
        raise UsageError(f"{name} is {value!r} (allowed: {forms})")
    for edge in value.values():
        if isinstance(edge, bool) or not isinstance(edge, int) or not 1 <= edge <= MAX_SIDE:
            raise UsageError(f"{name} is {dict(value)} (allowed: whole numbers from 1 to {MAX_SIDE})")
    return dict(value)


_CHECKS: dict[str, Callable[[str, Any, bool], Any]] = {
    "flag": _flag,
    "number": _number,
    "fraction": _fraction,
    "filter": _filter,
    "channels": _channels,
    "size": _size,
}
SETTING_NAMES = tuple(field.name for field in fields(ImageSettings))
_KINDS = dict.fromkeys(SETTING_NAMES, "flag") | {
    "size": "size",
    "crop_size": "size",
    "pad_size": "size",
    "resample": "filter",
    "crop_pct": "fraction",
    "rescale_factor": "number",
    "image_mean": "channels",
    "image_std": "channels",
}


def checked_settings(config: Mapping[str, Any], *, square: bool = True) -> dict[str, Any]:
    """Return the settings among the values, checked; null means unset, other names belong to other programs."""
    if config.get("default_to_square") is not None:
        square = bool(config["default_to_square"])
    return {
        name: _CHECKS[kind](name, config[name], square) for name, kind in _KINDS.items() if config.get(name) is not None
    }


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


def read_config(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises IntegrityError where there is none."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise IntegrityError(f"there is no {path.name} in '{path.parent}', so images cannot be prepared") from error
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"cannot read '{path}' as JSON: {error}") from error
    if not isinstance(config, dict):
        raise IntegrityError(f"'{path}' holds a {type(config).__name__}, not an object")
    return config
