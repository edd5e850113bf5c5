"""The plots of single cases: the distribution of latency, the ratio to each peer, the share of the machine's limit."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..percentiles import percentile
from ..result import Case, Contender, Row
from ..units import duration, quartiles, share, times
from .glyphs import bar_glyph, ratio_glyph, samples_glyph
from .reading import Compared, Reading
from .scale import Scale, scale_of
from .strips import Strip, strips
from .svg import Markup

# More would not be read; the tables have them all.
MOST_PANELS, MOST_ROWS = 24, 24


@dataclass(frozen=True)
class Plot:
    """Panels under one heading, how to read them, the contenders that need a legend, and what was left out."""

    title: str
    how: str
    panels: Sequence[Markup]
    legend: Sequence[str] = ()
    left_out: str = ""


def plot_of(title: str, how: str, panels: Iterable[Markup], legend: Sequence[str] = ()) -> Plot | None:
    """Return a plot, or None where there is nothing to show."""
    shown = list(panels)
    if not shown:
        return None
    more = len(shown) - MOST_PANELS
    left_out = f"{more} more {'panel is' if more == 1 else 'panels are'} left out here; the tables have every figure."
    return Plot(title, how, shown[:MOST_PANELS], legend, left_out if more > 0 else "")


def distribution(reading: Reading) -> Plot | None:
    """Return every sample of every contender, a panel for each case."""
    cases = [(case, list(reading.rows_of(case))) for case in reading.result.cases]
    return plot_of(
        "Latency, every call",
        "Each dot is a call. The box holds the middle half of them, the line in it is the median, and the whisker ends "
        "at p95. Calls of one length stand above each other; where they are very many, not each has its dot.",
        (_distribution(reading, index, case, rows) for index, (case, rows) in enumerate(cases) if rows),
    )


def _distribution(reading: Reading, index: int, case: Case, rows: Sequence[tuple[Contender, Row]]) -> Markup:
    shown = rows[:MOST_ROWS]
    samples = [row.samples_ms for _, row in shown]
    found = [
        _timed(reading, contender, each, f"p50 {duration(percentile(each, 0.5))}", samples_glyph(each))
        for (contender, _), each in zip(shown, samples, strict=True)
    ]
    return strips(
        f"latency-{index}",
        _caption(case.name, len(rows)),
        f"Latency of each contender at {case.name}: " + "; ".join(f"{strip.name} {strip.figure}" for strip in found),
        found,
        lambda start, end: scale_of(itertools.chain(*samples), start, end),
        axis="latency, ms",
    )


def _timed(
    reading: Reading,
    contender: Contender,
    samples: Sequence[float],
    figure: str,
    drawn: Callable[[Scale, float], Markup],
) -> Strip:
    count = f"{len(samples)} {'call' if len(samples) == 1 else 'calls'}"
    words = f"{count}, " + ", ".join(
        f"p{part} {duration(percentile(samples, part / 100))}" for part in (50, 90, 95, 99)
    )
    return Strip(contender.name, figure, words, drawn, reading.marks[contender.name])


def _caption(name: str, count: int, most: int = MOST_ROWS) -> str:
    return f"{name} (the first {most} of {count})" if count > most else name


def bars_by_contender(reading: Reading) -> Iterator[Markup]:
    """Yield a panel for each contender with p50 of each case, and a whisker to p90: for cases of no common axis."""
    found = [(case, contender, row) for case in reading.result.cases for contender, row in reading.rows_of(case)]
    high = [percentile(row.samples_ms, part) for _, _, row in found for part in (0.5, 0.9)]
    is_wide = bool(high) and min(high) > 0 and max(high) / min(high) > 5
    for index, contender in enumerate(reading.contenders):
        rows = [(case, row.samples_ms) for case, other, row in found if other == contender]
        if not rows:
            continue
        bars = [_bar(reading, contender, case, samples) for case, samples in rows[:MOST_ROWS]]
        yield strips(
            f"cases-{index}",
            _caption(contender.name, len(rows)),
            f"p50 of {contender.name} on each case: " + "; ".join(f"{bar.name} {bar.figure}" for bar in bars),
            bars,
            lambda start, end: scale_of(high, start, end, zero=not is_wide, is_log=is_wide),
            axis="p50 with a whisker to p90, ms",
        )


def _bar(reading: Reading, contender: Contender, case: Case, samples: Sequence[float]) -> Strip:
    middle, high = (percentile(samples, part) for part in (0.5, 0.9))
    words = f"{contender.name}, p50 {duration(middle)}, p90 {duration(high)}"
    return Strip(case.name, duration(middle), words, bar_glyph(middle, high), reading.marks[contender.name])


def ratios(reading: Reading) -> Plot | None:
    """Return how many times as long each peer takes, a panel for each case, or for each of ours on it."""
    known = [each for each in reading.compared if each.found["min"] > 0]
    groups: dict[str, list[Compared]] = {}
    apart = len({(each.peer, each.ours) for each in known}) > 12 or len({each.ours for each in known}) == 1
    for each in known:
        groups.setdefault(f"{each.ours} at {each.case}" if apart else each.case, []).append(each)
    ends = [1.0, *(each.found[name] for each in known for name in ("q1", "median", "q3") if each.found[name] > 0)]
    return plot_of(
        "Beside each peer",
        "How many times as long the peer takes: right of the line at 1x ours is faster. The dot is the median of the "
        "same rounds' ratios, the bar goes from quartile to quartile. All panels have one logarithmic scale.",
        (_ratio(reading, index, name, group, ends) for index, (name, group) in enumerate(groups.items())),
    )


def _ratio(reading: Reading, index: int, name: str, group: Sequence[Compared], ends: Sequence[float]) -> Markup:
    rows, ours = [], group[0].ours if name != group[0].case else ""
    ordered = sorted(group, key=lambda each: list(reading.marks).index(each.ours))
    for each in ordered[:MOST_ROWS]:
        if each.ours != ours:
            rows.append(Strip(f"{each.ours} beside"))
            ours = each.ours
        figure = f"{times(each.found['median'])} {quartiles(each.found)}"
        words = f"takes {figure} as long as {each.ours} at {each.case}"
        mark = reading.marks[each.ours]
        rows.append(Strip(each.peer, figure, words, ratio_glyph(mark, each.found), height=13.0))
    return strips(
        f"ratio-{index}",
        _caption(name, len(group)),
        f"Ratios at {name}: " + "; ".join(f"{row.name} {row.words}" for row in rows if row.words),
        rows,
        lambda start, end: scale_of(ends, start, end, is_log=True),
        axis="the peer's time over ours",
        guide=1.0,
    )


def roofline(reading: Reading) -> Plot | None:
    """Return the share of the machine's limit that each contender reaches, a panel for each case."""
    rows = [(case, contender, row) for case in reading.result.cases for contender, row in reading.rows_of(case)]
    known = [
        (case, contender, row.roofline)
        for case, contender, row in rows
        if row.roofline is not None and math.isfinite(row.roofline)
    ]
    ends = [1.0, *(part for _, _, part in known)]
    grouped = itertools.groupby(known, key=lambda each: each[0])
    return plot_of(
        "Share of the machine's limit",
        "The least time that the graph's arithmetic and reads take in the contender's precision, at the peaks "
        "measured in this run, over p50.",
        (_roofline(reading, index, case, list(group), ends) for index, (case, group) in enumerate(grouped)),
    )


def _roofline(
    reading: Reading, index: int, case: Case, group: Sequence[tuple[Case, Contender, float]], ends: Sequence[float]
) -> Markup:
    rows = [
        Strip(who.name, share(part), f"{share(part)} of the limit", bar_glyph(100 * part), reading.marks[who.name])
        for _, who, part in group[:MOST_ROWS]
    ]
    return strips(
        f"limit-{index}",
        _caption(case.name, len(group)),
        f"Share of the limit at {case.name}: " + "; ".join(f"{row.name} {row.figure}" for row in rows),
        rows,
        lambda start, end: scale_of([100 * part for part in ends], start, end, zero=True, is_log=False),
        axis="share of the limit, %",
        guide=100.0,
    )
