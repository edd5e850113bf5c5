"""A panel of labelled rows over one scale, the name and the figure above what is drawn, so that it fits a phone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..units import plain
from .reading import Mark
from .scale import Scale
from .svg import Box, Markup, drawing, element, fitted, joined, label, line, width_of

WIDTH = 380.0
_SIDE, _TEXT, _GAP, _FOOT = 8.0, 18.0, 8.0, 40.0


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
    """Return a figure of rows above each other; `scale` gets the ends of the axis, `guide` is a value to stand out."""
    bottom = 4 + sum(map(_height, rows))
    area = Box(_SIDE, 4, WIDTH - _SIDE, bottom)
    on = scale(area.left, area.right)
    parts, top = [_grid(on, area, axis, guide)], area.top
    for row in rows:
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


def _grid(on: Scale, area: Box, axis: str, guide: float | None) -> Markup:
    parts, free = [], -1e9
    for tick in on.ticks():
        x, text = on(tick), plain(tick)
        parts.append(line(x, area.top, x, area.bottom, "grid"))
        half = width_of(text, 11) / 2
        middle = min(max(x, half + 2), WIDTH - half - 2)
        if middle - half > free:
            parts.append(label(text, middle, area.bottom + 15, "tick", anchor="middle"))
            free = middle + half + 4
    if guide is not None:
        parts.append(line(on(guide), area.top, on(guide), area.bottom + 3, "guide"))
    parts.append(label(axis, area.right, area.bottom + 32, "axis", anchor="end"))
    return joined(*parts)
