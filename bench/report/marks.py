"""What a contender is drawn with: its mark, and the legend that explains the marks."""

import math
from collections.abc import Iterable

from .reading import Mark, Reading
from .svg import Markup, element, joined, number

_SIDES = {1: (4, math.pi / 4), 2: (3, -math.pi / 2), 3: (4, 0.0)}  # corners, and where the first one is


def shape(mark: Mark, x: float, y: float, *, size: float = 4.0) -> Markup:
    """Return the mark of a contender at a point: a circle, square, triangle or diamond."""
    classes = f"mark {mark.classes}"
    if mark.shape not in _SIDES:
        return element("circle", cx=x, cy=y, r=float(size), class_=classes)
    sides, first = _SIDES[mark.shape]
    angles = (first + 2 * math.pi * index / sides for index in range(sides))
    corners = ((x + 1.25 * size * math.cos(angle), y + 1.25 * size * math.sin(angle)) for angle in angles)
    return element("path", d=f"M{'L'.join(f'{number(a)} {number(b)}' for a, b in corners)}Z", class_=classes)


def legend(reading: Reading, names: Iterable[str]) -> Markup:
    """Return the list of contenders with their marks, ours filled."""
    items = (element("li", _sample(reading.marks[name]), name) for name in names)
    return element("ul", *items, class_="legend")


def _sample(mark: Mark) -> Markup:
    line = element("path", d="M1 7L25 7", class_=f"series {mark.classes}")
    return element(
        "svg", joined(line, shape(mark, 13.0, 7.0)), viewBox="0 0 26 14", class_="sample", aria_hidden="true"
    )
