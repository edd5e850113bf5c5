"""What a page is drawn with: elements of HTML and SVG, how wide a label will be, and scales; it knows no benchmark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

_VOID = {"meta", "link", "br"}
_KEPT_SPACES = "\u00a0\u202f"
# The widths of DejaVu Sans, the widest of the usual fonts, in parts of the font's size.
_NARROW, _WIDE = set("iljtfrI.,:;'|!()[]/ -"), set("mwMW@%&QOGDHNU")


@dataclass(frozen=True)
class Box:
    """A rectangle in the units of a drawing: the area that values are drawn in."""

    left: float
    top: float
    right: float
    bottom: float


def element(name: str, /, *children: object, **attributes: object) -> Markup:
    """Return one element: children that are no Markup are escaped, None is left out, `class_` and `stroke_width` work.

    A number that is not finite is our own bug: it would make the drawing silently wrong.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _attribute(value))
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Markup("<{}{}>").format(name, given)
    return Markup("<{0}{1}>{2}</{0}>").format(name, given, joined(*children))


def joined(*parts: object) -> Markup:
    """Return the parts after each other, each escaped unless it is Markup; None is left out."""
    return Markup("").join(_shown(part) for part in parts if part is not None)


def _shown(part: object) -> Markup:
    """Return text for HTML and XML; what cannot be shown there, or turns the text around it, becomes U+FFFD."""
    return part if isinstance(part, Markup) else escape(clean(str(part)))


def clean(text: str) -> str:
    """Return a text in one line, with U+FFFD in place of what is not printable."""
    return "".join(_clean(char) for char in text)


def _clean(char: str) -> str:
    if char.isprintable() or char in _KEPT_SPACES:
        return char
    return " " if char.isspace() else "\ufffd"


def _attribute(value: object) -> Markup:
    return _shown(number(value) if isinstance(value, float) else value)


def number(value: float) -> str:
    """Return a coordinate with one decimal."""
    assert math.isfinite(value), "a coordinate must be finite"
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")  # adding zero turns -0.0 into 0.0


def width_of(text: str, size: float) -> float:
    """Return about how wide a text is at a font size, rather too much than too little."""
    return size * sum(_width_of(char) for char in clean(text))


def _width_of(char: str) -> float:
    if char in _NARROW:
        return 0.42
    if ord(char) > 0x2E7F:
        return 1.1
    return 0.9 if char in _WIDE else 0.66


def fitted(text: str, width: float, size: float) -> str:
    """Return the text, shortened at its end until it is not wider than `width`."""
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def drawing(key: str, title: str, about: str, width: float, height: float, *parts: Markup) -> Markup:
    """Return a whole SVG: `key` names it in the page, title and description are for those who cannot see it."""
    names = {"title": f"{key}-title", "desc": f"{key}-desc"}
    return element(
        "svg",
        element("title", title, id=names["title"]),
        element("desc", about, id=names["desc"]),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_labelledby=" ".join(names.values()),
    )


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("path", d=f"M{number(x1)} {number(y1)}L{number(x2)} {number(y2)}", class_=class_)


def label(text: str, x: float, y: float, class_: str = "", *, anchor: str | None = None) -> Markup:
    """Return a text whose baseline is at `y`."""
    return element("text", text, x=float(x), y=float(y), class_=class_ or None, text_anchor=anchor)


# Beyond this ratio of the largest value to the smallest, a linear scale hides the small ones.
_LOG_FROM = 5.0


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` become coordinates from `start` to `end`; values outside stay at the ends."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        part = (self._bent(value) - self._bent(self.low)) / (self._bent(self.high) - self._bent(self.low))
        return self.start + min(1.0, max(0.0, part)) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Return at most about `most` round values in the range."""
        return _log_ticks(self.low, self.high, most) if self.is_log else _linear_ticks(self.low, self.high, most)

    def _bent(self, value: float) -> float:
        return math.log(max(value, self.low * 1e-3)) if self.is_log else value


def scale_of(
    values: Iterable[float], start: float, end: float, *, zero: bool = False, is_log: bool | None = None
) -> Scale:
    """Return the scale that has all values and a little room: logarithmic where they span much, unless told.

    With `zero` a linear scale begins there, as bars must.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known), max(known)
    if is_log is None:
        is_log = low > 0 and high / low > _LOG_FROM and not zero
    if is_log and low > 0:
        room = max(1.03, (high / low) ** 0.04)
        return Scale(low / room, high * room, start, end, is_log=True)
    room = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(0.0 if zero or (low >= 0 and low - room < 0) else low - room, high + room, start, end)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return the finest of a few families of round values that is not too many."""
    families: Sequence[tuple[float, ...]] = ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found: list[float] = []
    for family in families:
        values = (round(factor * 10.0**power, 12) for power in powers for factor in family)
        found = [value for value in values if low <= value * (1 + 1e-9) and value <= high * (1 + 1e-9)]
        if len(found) <= most:
            break
    found = found[:: max(1, -(-len(found) // most))]
    return found if len(found) > 1 else _linear_ticks(low, high, most - 1)
