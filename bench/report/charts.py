"""The report's panels: rows over one scale, lines over two, the marks and glyphs in them; it reads no result."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from ..percentiles import percentile
from ..units import plain
from .drawing import Box, Scale, drawing, element, fitted, joined, label, line, number, scale_of, width_of
from .reading import FEWEST, Mark, Reading

WIDTH = 380.0
_SIDE, _TEXT, _GAP, _FOOT = 8.0, 18.0, 8.0, 34.0


@dataclass(frozen=True)
class Strip:
    """One row: what it is called, its figure, all of it in words, and what draws it at a height on the scale.

    A row without `drawn` is a heading of those below.
    """

    name: str
    figure: str = ""
    words: str = ""
    drawn: Callable[[Scale, float], Markup] | None = None
    mark: Mark | None = None
    height: float = field(default=20.0, kw_only=True)


def strips(
    key: str,
    caption: str,
    about: str,
    rows: Sequence[Strip],
    scale: Callable[[float, float], Scale],
    *,
    axis: str,
    guide: float | None = None,
) -> Markup:
    """Return a figure of rows above each other; `scale` gets the ends of the axis, `guide` is a value to stand out.

    Each row is a line of text over a band, and only bands have lines of the grid: no text stands on one.
    """
    bottom = 4 + sum(map(_height, rows))
    area = Box(_SIDE, 4, WIDTH - _SIDE, bottom)
    on = scale(area.left, area.right)
    parts, top = [_ticks(on, area, axis)], area.top
    for row in rows:
        if row.drawn is not None:
            parts.append(_band(on, Box(area.left, top + _TEXT, area.right, top + _TEXT + row.height), guide))
        parts.append(_row(row, on, top))
        top += _height(row)
    svg = drawing(key, caption, about, WIDTH, bottom + _FOOT, *parts)
    return element("figure", element("figcaption", caption), svg, class_="panel")


def _height(row: Strip) -> float:
    return _TEXT + _GAP if row.drawn is None else _TEXT + row.height + _GAP


def _row(row: Strip, on: Scale, top: float) -> Markup:
    baseline = top + _TEXT - 4 if row.drawn else top + _TEXT + _GAP - 6
    room = WIDTH - 2 * _SIDE - width_of(row.figure, 11) - 12
    name_class = "name own" if row.mark and row.mark.is_own else "name" if row.drawn else "heading"
    texts = [
        label(fitted(row.name, room, 12), _SIDE, baseline, name_class),
        label(row.figure, WIDTH - _SIDE, baseline, "figure", anchor="end") if row.figure else None,
    ]
    drawn = row.drawn(on, top + _TEXT + row.height / 2) if row.drawn else None
    words = element("title", f"{row.name}: {row.words}") if row.words else None
    return element("g", words, joined(*texts, drawn), class_=row.mark.classes if row.mark else None)


def _band(on: Scale, area: Box, guide: float | None) -> Markup:
    width, height = area.right - area.left, area.bottom - area.top
    ground = element("rect", x=area.left, y=area.top, width=width, height=height, class_="band")
    grid = (line(on(tick), area.top, on(tick), area.bottom, "grid") for tick in on.ticks())
    stands_out = None if guide is None else line(on(guide), area.top, on(guide), area.bottom, "guide")
    return joined(ground, *grid, stands_out)


def _ticks(on: Scale, area: Box, axis: str) -> Markup:
    parts, free = [], -1e9
    for tick in on.ticks():
        x, text = on(tick), plain(tick)
        half = width_of(text, 11) / 2
        middle = min(max(x, half + 2), WIDTH - half - 2)
        if middle - half > free:
            parts.append(label(text, middle, area.bottom + 9, "tick", anchor="middle"))
            free = middle + half + 4
    parts.append(label(axis, area.right, area.bottom + 26, "axis", anchor="end"))
    return joined(*parts)


HEIGHT = 220.0
_LABEL_GAP = 13.0


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
        free = place + _LABEL_GAP
        parts.append(label(fitted(each.name, WIDTH - x - 10, 11), x + 9, place, "name"))
    return joined(*parts)


# Dots of one place are stacked; more than so many would only cover each other.
_STACK, _HEIGHT = 9, 14.0
SAMPLES_HEIGHT = 34.0


def samples_glyph(samples: Sequence[float]) -> Callable[[Scale, float], Markup]:
    """Return what draws every sample as a dot, and below them the quartiles, the median and a whisker to p95.

    These are percentiles as everywhere else (nearest rank), so the line is where the label says; few have only dots.
    """

    def drawn(on: Scale, y: float) -> Markup:
        places = [on(sample) for sample in samples]
        if len(samples) < FEWEST:
            return element("path", d=_swarm(places, y), class_="dots few")
        low, median, high, end = (on(percentile(samples, share)) for share in (0.25, 0.5, 0.75, 0.95))
        below = y + 11
        return joined(
            element("path", d=_swarm(places, y - 5), class_="dots"),
            element("rect", x=low, y=below - 4, width=max(1.0, high - low), height=8, class_="box"),
            line(high, below, end, below, "whisker"),
            line(end, below - 3, end, below + 3, "whisker"),
            line(median, below - 5, median, below + 5, "median"),
        )

    return drawn


def bar_glyph(value: float, high: float | None = None) -> Callable[[Scale, float], Markup]:
    """Return what draws a bar from the scale's start, with a whisker to `high`; a dot on a logarithmic one."""

    def drawn(on: Scale, y: float) -> Markup:
        start, end = on.start, on(value)
        bar = element("rect", x=start, y=y - 6, width=max(1.0, end - start), height=12, class_="bar")
        dot = element("circle", cx=end, cy=y, r=4.5, class_="mark own")
        return joined(dot if on.is_log else bar, _whisker(on, value, high, y))

    return drawn


def ratio_glyph(mark: Mark, found: Mapping[str, float]) -> Callable[[Scale, float], Markup]:
    """Return what draws a dot at the median, and a bar from quartile to quartile."""

    def drawn(on: Scale, y: float) -> Markup:
        low, high = on(found["q1"]), on(found["q3"])
        span = element("rect", x=low, y=y - 3, width=max(1.0, high - low), height=6, rx=3, class_="span")
        return element("g", span, shape(mark, on(found["median"]), y, size=4.5), class_=mark.classes)

    return drawn


def _whisker(on: Scale, value: float, high: float | None, y: float) -> Markup | None:
    if high is None or on(high) - on(value) < 1:
        return None
    return joined(line(on(value), y, on(high), y, "whisker"), line(on(high), y - 4, on(high), y + 4, "whisker"))


def _swarm(places: Sequence[float], y: float) -> str:
    """Return a path of dots, those of one place above and below the middle, as a histogram of dots."""
    counts = Counter(round(place / 1.5) for place in places)
    most = max(counts.values())
    step = min(2.6, _HEIGHT / most)
    dots = []
    for place, count in sorted(counts.items()):
        shown = min(count, max(1, round(count * _STACK / most))) if most > _STACK else count
        apart = step * count / shown
        dots += [f"M{number(1.5 * place)} {number(y + (index - (shown - 1) / 2) * apart)}h0" for index in range(shown)]
    return "".join(dots)


_SIDES = {1: (4, math.pi / 4), 2: (3, -math.pi / 2), 3: (4, 0.0)}  # corners, and where the first one is


def shape(mark: Mark, x: float, y: float, *, size: float = 4.0) -> Markup:
    """Return the mark of a backend at a point: a circle, square, triangle or diamond."""
    classes = f"mark {mark.classes}"
    if mark.shape not in _SIDES:
        return element("circle", cx=x, cy=y, r=float(size), class_=classes)
    sides, first = _SIDES[mark.shape]
    angles = (first + 2 * math.pi * index / sides for index in range(sides))
    corners = ((x + 1.25 * size * math.cos(angle), y + 1.25 * size * math.sin(angle)) for angle in angles)
    return element("path", d=f"M{'L'.join(f'{number(a)} {number(b)}' for a, b in corners)}Z", class_=classes)


def legend(reading: Reading, names: Iterable[str]) -> Markup:
    """Return the list of backends with their marks, ours filled."""
    items = (element("li", _sample(reading.marks[name]), name) for name in names)
    return element("ul", *items, class_="legend")


def _sample(mark: Mark) -> Markup:
    line = element("path", d="M1 7L25 7", class_=f"series {mark.classes}")
    return element(
        "svg", joined(line, shape(mark, 13.0, 7.0)), viewBox="0 0 26 14", class_="sample", aria_hidden="true"
    )
