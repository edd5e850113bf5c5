"""A panel of points and lines over two scales; it knows no benchmark."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..units import plain
from .marks import shape
from .reading import Mark
from .scale import Scale, scale_of
from .strips import WIDTH
from .svg import Box, Markup, drawing, element, fitted, joined, label, line, number, width_of

HEIGHT = 270.0
_GAP = 13.0


@dataclass(frozen=True)
class Point:
    """A point, all of it in words, and the end of a whisker above it."""

    x: float
    y: float
    words: str
    high: float | None = None


@dataclass(frozen=True)
class Series:
    """The points of one line, in order; `name` stands at its end where it is given."""

    mark: Mark
    points: Sequence[Point]
    name: str = ""


@dataclass(frozen=True)
class Axes:
    """What the axes are called, and all values that they must have room for; `places` are the only ticks of x."""

    x: str
    y: str
    xs: Sequence[float]
    ys: Sequence[float]
    places: Sequence[float] = ()


def lines(
    key: str, caption: str, about: str, series: Sequence[Series], axes: Axes, *, behind: Iterable[Series] = ()
) -> Markup:
    """Return a figure of lines, those `behind` only as a pale ground to compare with."""
    beside = max((width_of(each.name, 11) + 10 for each in series if each.name), default=0.0)
    y_scale = scale_of(axes.ys, HEIGHT - 44, 26)
    left = max(width_of(plain(tick), 11) for tick in y_scale.ticks(5)) + 12
    area = Box(left, 26, WIDTH - 14 - min(beside, 110), HEIGHT - 44)
    x_scale = scale_of(axes.xs, area.left + 8, area.right - 8)
    ground = [element("path", d=_path(each.points, x_scale, y_scale), class_="ground") for each in behind]
    drawn = [
        _series(each, x_scale, y_scale, 4.0 * (index - (len(series) - 1) / 2) if _has_whiskers(each) else 0.0)
        for index, each in enumerate(series)
    ]
    parts = [_axes(axes, x_scale, y_scale, area), *ground, *drawn, _names(series, x_scale, y_scale)]
    return element(
        "figure",
        element("figcaption", caption),
        drawing(key, caption, about, WIDTH, HEIGHT, *parts),
        class_="panel",
    )


def _has_whiskers(series: Series) -> bool:
    return any(point.high is not None for point in series.points)


def _series(series: Series, on_x: Scale, on_y: Scale, aside: float) -> Markup:
    """Return a line with its marks, moved a little aside so that whiskers of one place do not cover each other."""
    path = element("path", d=_path(series.points, on_x, on_y, aside), class_=f"series {series.mark.classes}")
    return joined(path, *(_point(series.mark, point, on_x(point.x) + aside, on_y) for point in series.points))


def _point(mark: Mark, point: Point, x: float, on_y: Scale) -> Markup:
    whisker = None
    if point.high is not None:
        top = on_y(point.high)
        whisker = joined(line(x, on_y(point.y), x, top, "whisker"), line(x - 2.5, top, x + 2.5, top, "whisker"))
    return element("g", element("title", point.words), whisker, shape(mark, x, on_y(point.y)), class_=mark.classes)


def _path(points: Sequence[Point], on_x: Scale, on_y: Scale, aside: float = 0.0) -> str:
    return "M" + "L".join(f"{number(on_x(point.x) + aside)} {number(on_y(point.y))}" for point in points)


def _axes(axes: Axes, on_x: Scale, on_y: Scale, area: Box) -> Markup:
    parts = [label(axes.y, 2, 12, "axis"), label(axes.x, area.right, HEIGHT - 8, "axis", anchor="end")]
    for tick in on_y.ticks(5):
        y = on_y(tick)
        parts += [line(area.left, y, area.right, y, "grid")]
        parts += [label(plain(tick), area.left - 6, y + 4, "tick", anchor="end")]
    free = -1e9
    for tick in axes.places or on_x.ticks():
        x, text = on_x(tick), plain(tick)
        half = width_of(text, 11) / 2
        parts.append(line(x, area.bottom, x, area.bottom + 4, "stroke"))
        if x - half > free and x + half < WIDTH:
            parts.append(label(text, x, area.bottom + 17, "tick", anchor="middle"))
            free = x + half + 4
    return joined(*parts, line(area.left, area.bottom, area.right, area.bottom, "stroke"))


def _names(series: Sequence[Series], on_x: Scale, on_y: Scale) -> Markup:
    """Return the names at the ends of the lines, moved apart where they would cover each other."""
    ends = [(on_y(each.points[-1].y), on_x(each.points[-1].x), each) for each in series if each.name]
    parts, free = [], 0.0
    for y, x, each in sorted(ends, key=lambda end: end[0]):
        place = max(y + 4, free)
        free = place + _GAP
        parts.append(label(fitted(each.name, WIDTH - x - 10, 11), x + 9, place, "name"))
    return joined(*parts)
