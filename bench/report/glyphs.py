"""What stands in a row of a panel: every sample with its quartiles, a bar, a dot between its quartiles."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..percentiles import percentile
from .marks import shape
from .reading import Mark
from .scale import Scale
from .svg import Markup, element, joined, line, number

# Dots of one place are stacked; more than so many would only cover each other.
_STACK, _HEIGHT = 9, 20.0
_FEW = 4  # below so many samples, quartiles say nothing


def samples_glyph(samples: Sequence[float]) -> Callable[[Scale, float], Markup]:
    """Return what draws every sample as a dot, and over them the quartiles, the median and a whisker to p95."""

    def drawn(on: Scale, y: float) -> Markup:
        median = on(statistics.median(samples))
        few = len(samples) < _FEW
        dots = element("path", d=_swarm([on(sample) for sample in samples], y), class_="dots few" if few else "dots")
        parts: list[Markup | None] = [dots]
        if not few:
            low, _, high = statistics.quantiles(samples, n=4)
            end = on(percentile(samples, 0.95))
            parts += [
                element("rect", x=on(low), y=y - 6, width=max(1.0, on(high) - on(low)), height=12, class_="box"),
                line(on(high), y, max(end, on(high)), y, "whisker"),
                line(end, y - 4, end, y + 4, "whisker") if end > on(high) else None,
            ]
        parts.insert(0 if few else len(parts), line(median, y - 9, median, y + 9, "median"))
        return joined(*parts)

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
        return joined(span, shape(mark, on(found["median"]), y, size=4.5))

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
