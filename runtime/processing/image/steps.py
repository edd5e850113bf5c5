"""What image processors do to pixels: each step plans operations from settings and a shape, Pillow carries them out.

All of it on 8-bit RGB. A plan is checked before anything is allocated: an image's proportions are untrusted.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ...errors import UsageError
from .effort import MAX_PIXELS
from .settings import ImageSettings, Shape, resized_shape

if TYPE_CHECKING:
    from PIL.Image import Image

Operation = tuple[str, Shape]
"""The name of a change in `OPERATIONS`, and the shape that it gives."""

Step = Callable[[ImageSettings, Shape], list[Operation]]
"""Plans what a setting asks for on an image of a shape; nothing where its flag is off."""


def resize(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Bring to `size`, in any of its forms."""
    if not settings.do_resize or settings.size is None:
        return []
    return [("resize", resized_shape(settings.size, shape))]


def center_crop(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Cut out the middle, black where the image is smaller."""
    if not settings.do_center_crop or settings.crop_size is None:
        return []
    return [("crop", resized_shape(settings.crop_size, shape))]


def resize_by_crop_pct(settings: ImageSettings, shape: Shape) -> list[Operation]:
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


def align_long_axis(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Donut's first: turn a quarter clockwise where one of image and page is upright and the other is not."""
    if not settings.do_align_long_axis:
        return []
    height, width = _page(settings)
    return [("turn", (shape[1], shape[0]))] if (height - width) * (shape[0] - shape[1]) < 0 else []


def resize_to_short_side(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Donut's second: the image's shorter side becomes the page's, whatever the longer one then is."""
    if not settings.do_resize:
        return []
    return [("resize", resized_shape({"shortest_edge": min(_page(settings))}, shape))]


def thumbnail(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Donut's third: shrink what is larger than the page, by its longer side; what is square is warped."""
    if not settings.do_thumbnail:
        return []
    height, width = map(min, shape, _page(settings))
    if (height, width) == shape:
        return []
    if shape[0] > shape[1]:
        width = int(shape[1] * height / shape[0])
    elif shape[1] > shape[0]:
        height = int(shape[0] * width / shape[1])
    return [("thumbnail", (height, width))]


def pad_to_page(settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Donut's last: lay the image into the middle of a black page."""
    if not settings.do_pad:
        return []
    page = _page(settings)
    if page[0] < shape[0] or page[1] < shape[1]:
        raise UsageError(f"an image of {shape} (height, width) does not fit into size {page}")
    return [("pad", page)]


def _page(settings: ImageSettings) -> Shape:
    size = settings.size
    if size is None or set(size) != {"height", "width"}:
        raise UsageError(f"size is {size and dict(size)} (allowed for this processor: {{height, width}})")
    return size["height"], size["width"]


def planned(steps: Iterable[Step], settings: ImageSettings, shape: Shape) -> list[Operation]:
    """Return what the steps do, in order, to an image of a shape; raise UsageError for what they cannot do to it."""
    plan: list[Operation] = []
    for step in steps:
        for name, after in step(settings, last_shape(plan, shape)):
            check_change(name, last_shape(plan, shape), after)
            plan.append((name, after))
    return plan


def last_shape(plan: list[Operation], shape: Shape) -> Shape:
    """Return the shape that an image of `shape` has after a plan."""
    return plan[-1][1] if plan else shape


def check_change(name: str, before: Shape, after: Shape) -> None:
    """Refuse, before anything is allocated, shapes that an image of extreme proportions would get."""
    height, width = after
    if height < 1 or width < 1:
        raise UsageError(f"an image of {before[0]} x {before[1]} (height x width) has no pixel left after {name}")
    # What resizes does rows first, so it holds the old height at the new width.
    if max(height, before[0] if name in _RESIZING else 0) * width > MAX_PIXELS:
        raise UsageError(
            f"an image of {before[0]} x {before[1]} (height x width) would become {height} x {width} "
            f"by {name} (allowed: {MAX_PIXELS} pixels on the way)"
        )


def _resized(picture: "Image", shape: Shape, settings: ImageSettings) -> "Image":
    return picture.resize((shape[1], shape[0]), resample=settings.resample)


def _shrunk(picture: "Image", shape: Shape, settings: ImageSettings) -> "Image":
    # transformers takes the filter 0, nearest, for none, and then its default here, bicubic.
    return picture.resize((shape[1], shape[0]), resample=settings.resample or 3)


def _cropped(picture: "Image", shape: Shape, _settings: ImageSettings) -> "Image":
    """Cut out the middle; an odd pixel more goes to the bottom right."""
    return _window(picture, shape, (picture.height - shape[0]) // 2, (picture.width - shape[1]) // 2)


def _padded(picture: "Image", shape: Shape, _settings: ImageSettings) -> "Image":
    """Lay into the middle; an odd pixel more is below and on the right."""
    return _window(picture, shape, -((shape[0] - picture.height) // 2), -((shape[1] - picture.width) // 2))


def _window(picture: "Image", shape: Shape, top: int, left: int) -> "Image":
    return picture.crop((left, top, left + shape[1], top + shape[0]))


def _turned(picture: "Image", _shape: Shape, _settings: ImageSettings) -> "Image":
    import PIL.Image

    return picture.transpose(PIL.Image.Transpose.ROTATE_270)


_RESIZING = frozenset({"resize", "thumbnail"})
OPERATIONS: Mapping[str, Callable[["Image", Shape, ImageSettings], "Image"]] = {
    "resize": _resized,
    "thumbnail": _shrunk,
    "crop": _cropped,
    "pad": _padded,
    "turn": _turned,
}
