"""The plots of a result: the distribution of each case, speedups, roofline efficiency, and curves."""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from ...runtime.amounts import counted
from ..percentiles import percentile
from ..result import BackendInfo, GridCase, Load, Row
from ..units import duration, measure, quartiles, share, significant, times
from .charts import (
    SAMPLES_HEIGHT,
    Axes,
    Point,
    Series,
    Strip,
    bar_glyph,
    lines,
    ratio_glyph,
    samples_glyph,
    strips,
)
from .drawing import Scale, scale_of
from .reading import FEWEST, Compared, Reading

# More would not be read; the tables have them all.
MOST_PANELS, MOST_ROWS = 24, 24


@dataclass(frozen=True)
class Plot:
    """Panels under one heading, how to read them, the backends that need a legend, and what was left out.

    `in_pairs`: two panels next to each other belong together.
    """

    title: str
    how: str
    panels: Sequence[Markup]
    legend: Sequence[str] = ()
    left_out: str = ""
    in_pairs: bool = False


def plot_of(
    title: str, how: str, panels: Iterable[Markup], legend: Sequence[str] = (), *, in_pairs: bool = False
) -> Plot | None:
    """Return a plot, or None where there is nothing to show."""
    shown = list(panels)
    if not shown:
        return None
    more = len(shown) - MOST_PANELS
    left_out = f"{more} more {'panel is' if more == 1 else 'panels are'} left out here; the tables have every figure."
    return Plot(title, how, shown[:MOST_PANELS], legend, left_out if more > 0 else "", in_pairs)


def distribution(reading: Reading) -> Plot | None:
    """Return every sample of every backend, a panel for each case."""
    cases = [(case, list(reading.measured_on(case))) for case in reading.result.cases]
    return plot_of(
        "Latency, every call",
        "Each dot is a call; overlapping points are stacked, and where there are very many, not every call has a dot. "
        "The box below is the interquartile range, the line in it is p50, and the whisker ends at p95; "
        f"fewer than {FEWEST} calls are only dots.",
        (_distribution(reading, index, case, rows) for index, (case, rows) in enumerate(cases) if rows),
    )


def _distribution(reading: Reading, index: int, case: GridCase, rows: Sequence[tuple[BackendInfo, Row]]) -> Markup:
    shown = rows[:MOST_ROWS]
    samples = [row.samples_ms for _, row in shown]
    found = [
        _timed(reading, backend, each, f"p50 {duration(percentile(each, 0.5))}", samples_glyph(each))
        for (backend, _), each in zip(shown, samples, strict=True)
    ]
    return strips(
        f"latency-{index}",
        _caption(case.name, len(rows)),
        f"Latency of each backend at {case.name}: " + "; ".join(f"{strip.name} {strip.figure}" for strip in found),
        found,
        lambda start, end: scale_of(itertools.chain(*samples), start, end),
        axis="latency, ms",
    )


def _timed(
    reading: Reading,
    backend: BackendInfo,
    samples: Sequence[float],
    figure: str,
    drawn: Callable[[Scale, float], Markup],
) -> Strip:
    count = counted(len(samples), "call")
    words = f"{count}, " + ", ".join(
        f"p{part} {duration(percentile(samples, part / 100))}" for part in (50, 90, 95, 99)
    )
    return Strip(backend.name, figure, words, drawn, reading.marks[backend.name], height=SAMPLES_HEIGHT)


def _caption(name: str, count: int, most: int = MOST_ROWS) -> str:
    return f"{name} (the first {most} of {count})" if count > most else name


def bars_by_backend(reading: Reading) -> Iterator[Markup]:
    """Yield a panel for each backend with p50 of each case, and a whisker to p90: for cases of no common axis."""
    found = [(case, backend, row) for case in reading.result.cases for backend, row in reading.measured_on(case)]
    high = [percentile(row.samples_ms, part) for _, _, row in found for part in (0.5, 0.9)]
    is_wide = bool(high) and min(high) > 0 and max(high) / min(high) > 5
    for index, backend in enumerate(reading.backends):
        rows = [(case, row.samples_ms) for case, other, row in found if other == backend]
        if not rows:
            continue
        bars = [_bar(reading, backend, case, samples) for case, samples in rows[:MOST_ROWS]]
        yield strips(
            f"cases-{index}",
            _caption(backend.name, len(rows)),
            f"p50 of {backend.name} on each case: " + "; ".join(f"{bar.name} {bar.figure}" for bar in bars),
            bars,
            lambda start, end: scale_of(high, start, end, zero=not is_wide, is_log=is_wide),
            axis="p50 with a whisker to p90, ms",
        )


def _bar(reading: Reading, backend: BackendInfo, case: GridCase, samples: Sequence[float]) -> Strip:
    middle, high = (percentile(samples, part) for part in (0.5, 0.9))
    words = f"{backend.name}, p50 {duration(middle)}, p90 {duration(high)}"
    return Strip(case.name, duration(middle), words, bar_glyph(middle, high), reading.marks[backend.name])


def ratios(reading: Reading) -> Plot | None:
    """Return how many times as long each baseline takes, a panel for each case, or for each of ours on it."""
    known = [each for each in reading.compared if each.found["min"] > 0]
    groups: dict[str, list[Compared]] = {}
    apart = len({(each.baseline, each.ours) for each in known}) > 12 or len({each.ours for each in known}) == 1
    for each in known:
        groups.setdefault(f"{each.ours} at {each.case}" if apart else each.case, []).append(each)
    ends = [1.0, *(each.found[name] for each in known for name in ("q1", "median", "q3") if each.found[name] > 0)]
    return plot_of(
        "Speedup over each baseline",
        "Baseline time / vitrify time: right of the line at 1x vitrify is faster. The dot is the median ratio within "
        "the same rounds, the bar the interquartile range. All panels share one logarithmic scale.",
        (_ratio(reading, index, name, group, ends) for index, (name, group) in enumerate(groups.items())),
    )


def _ratio(reading: Reading, index: int, name: str, group: Sequence[Compared], ends: Sequence[float]) -> Markup:
    rows, ours = [], group[0].ours if name != group[0].case else ""
    ordered = sorted(group, key=lambda each: list(reading.marks).index(each.ours))
    for each in ordered[:MOST_ROWS]:
        if each.ours != ours:
            rows.append(Strip(f"{each.ours} against"))
            ours = each.ours
        figure = f"{times(each.found['median'])} {quartiles(each.found)}"
        words = f"takes {figure} as long as {each.ours} at {each.case}"
        mark = reading.marks[each.ours]
        rows.append(Strip(each.baseline, figure, words, ratio_glyph(mark, each.found), height=13.0))
    return strips(
        f"ratio-{index}",
        _caption(name, len(group)),
        f"Ratios at {name}: " + "; ".join(f"{row.name} {row.words}" for row in rows if row.words),
        rows,
        lambda start, end: scale_of(ends, start, end, is_log=True),
        axis="speedup (baseline time / vitrify time)",
        guide=1.0,
    )


def roofline(reading: Reading) -> Plot | None:
    """Return the share of the machine's limit that each backend reaches, a panel for each case."""
    rows = [(case, backend, row) for case in reading.result.cases for backend, row in reading.measured_on(case)]
    known = [
        (case, backend, row.roofline)
        for case, backend, row in rows
        if row.roofline is not None and math.isfinite(row.roofline)
    ]
    ends = [1.0, *(part for _, _, part in known)]
    grouped = itertools.groupby(known, key=lambda each: each[0])
    return plot_of(
        "Roofline efficiency",
        "The least time that the graph's arithmetic and memory reads need in the backend's precision, at the peaks "
        "measured in this run, over p50.",
        (_roofline(reading, index, case, list(group), ends) for index, (case, group) in enumerate(grouped)),
    )


def _roofline(
    reading: Reading,
    index: int,
    case: GridCase,
    group: Sequence[tuple[GridCase, BackendInfo, float]],
    ends: Sequence[float],
) -> Markup:
    rows = [
        Strip(who.name, share(part), f"{share(part)} of the roofline", bar_glyph(100 * part), reading.marks[who.name])
        for _, who, part in group[:MOST_ROWS]
    ]
    return strips(
        f"limit-{index}",
        _caption(case.name, len(group)),
        f"Roofline efficiency at {case.name}: " + "; ".join(f"{row.name} {row.figure}" for row in rows),
        rows,
        lambda start, end: scale_of([100 * part for part in ends], start, end, zero=True, is_log=False),
        axis="roofline efficiency, %",
        guide=100.0,
    )


_SAME = "All panels have the same scales, so that positions can be compared between them."
# With more lines than this in a panel, each backend gets its own, before the pale lines of the others.
MOST_LINES = 7


@dataclass(frozen=True)
class Line:
    """One backend's points in one group of cases that differ in one thing only."""

    backend: BackendInfo
    group: str
    points: Sequence[Point]


def by_size(reading: Reading) -> Plot | None:
    """Return p50 and p90 over the axis that has most values, or bars where the cases have no common axis."""
    axis = _axis(reading.result.cases)
    groups = _groups(reading.result.cases, axis) if axis else {}
    groups = {name: cases for name, cases in groups.items() if len(cases) > 1}
    if axis is None or sum(map(len, groups.values())) < len(reading.result.cases):
        if len({row.case for row in reading.measured}) < 2:
            return None
        return plot_of("Latency by case", "p50 of every case, with a whisker to p90.", bars_by_backend(reading))
    found = [
        Line(backend, name, points)
        for name, cases in groups.items()
        for backend in reading.backends
        if len(points := _sized(reading, backend, axis, cases)) > 1
    ]
    how = f"p50 over {axis}, with a whisker to p90. {_SAME}"
    sizes = sorted({float(case.sizes[axis]) for case in reading.result.cases})
    return _curves(reading, "size", "Latency by shape", how, found, Axes(axis, "latency, ms", sizes, [], sizes))


def _sized(reading: Reading, backend: BackendInfo, axis: str, cases: Sequence[GridCase]) -> list[Point]:
    points = []
    for case in sorted(cases, key=lambda case: case.sizes[axis]):
        if (row := reading.result.row(case.name, backend.name)) and (samples := row.samples_ms):
            middle, high = (percentile(samples, part) for part in (0.5, 0.9))
            words = f"{backend.name} at {case.name}: p50 {duration(middle)}, p90 {duration(high)}"
            points.append(Point(case.sizes[axis], middle, words, high))
    return points


def by_latency(reading: Reading) -> Plot | None:
    """Return throughput over p50 where one run may hold more or less, as with the batch."""
    found: list[Line] = []
    units = list(dict.fromkeys(case.unit for case in reading.result.cases))
    for name, cases in _groups(reading.result.cases, "batch").items():
        for unit in units:
            same = sorted((case for case in cases if case.unit == unit), key=lambda case: case.count)
            if len({case.count for case in same}) > 1:
                found += [
                    Line(who, f"{name} ({unit})".strip() if len(units) > 1 else name, points)
                    for who in reading.backends
                    if len(points := _served(reading, who, same)) > 1
                ]
    how = (
        "Up and to the left is better: each line goes from the smallest batch to the largest. "
        f"Both scales are logarithmic where the values span much. {_SAME}"
    )
    axes = Axes("p50, ms", f"throughput, {' or '.join(units)}/s", [], [])
    return _curves(reading, "throughput", "Throughput against latency", how, found, axes)


def _served(reading: Reading, backend: BackendInfo, cases: Sequence[GridCase]) -> list[Point]:
    points = []
    for case in cases:
        row = reading.result.row(case.name, backend.name)
        if row and row.throughput is not None and math.isfinite(row.throughput) and (samples := row.samples_ms):
            middle, speed = percentile(samples, 0.5), measure(row.throughput, f"{case.unit}/s")
            words = f"{backend.name} at {case.name}: {speed} at p50 {duration(middle)}"
            points.append(Point(middle, row.throughput, words))
    return points


def by_rate(reading: Reading) -> Plot | None:
    """Return p50 and p99 over the rate of arrivals, a pair of panels for each case."""
    cases = [_under_load(reading, case) for case in reading.result.cases]
    found = [line for each in cases for line in each]
    title, axes = "Latency under load", Axes("requests per second", "latency, ms", [], [])
    how = (
        "Poisson arrivals at this rate; latency counts from the intended start, so queueing is included. "
        "Where a line bends up, the backend is saturated."
    )
    names = _names(found)
    if len(names) > MOST_LINES:
        return _curves(reading, "rate", title, how, found, axes)
    panels = (
        panel
        for index, each in enumerate(cases)
        for panel in _together(reading, f"rate-{index}", each, _with_room(axes, each))
    )
    how += (
        " The two panels of a case have the same scales; cases do not, for their rates and latencies differ too much."
    )
    return plot_of(title, how, panels, names if len(names) > 1 else [], in_pairs=True)


def _under_load(reading: Reading, case: GridCase) -> list[Line]:
    return [
        Line(backend, f"{name}, {case.name}", points)
        for name, part in (("p50", 0.5), ("p99", 0.99))
        for backend in reading.backends
        if (points := _arrived(reading.result.loads, case, backend, part))
    ]


def _arrived(loads: Sequence[Load], case: GridCase, backend: BackendInfo, part: float) -> list[Point]:
    points = []
    for load in sorted(loads, key=lambda load: load.rate):
        if (load.case, load.backend) == (case.name, backend.name) and (samples := load.samples_ms):
            value = percentile(samples, part)
            words = f"{backend.name}, {significant(load.rate)} requests per second: p{100 * part:g} {duration(value)}"
            points.append(Point(load.rate, value, words))
    return points


def _curves(reading: Reading, key: str, title: str, how: str, found: Sequence[Line], axes: Axes) -> Plot | None:
    """Return a panel for each group with all backends, or where they are many one for each backend."""
    axes, names = _with_room(axes, found), _names(found)
    if len(names) > MOST_LINES:
        return plot_of(title, f"{how} The pale lines are the other backends.", _apart(reading, key, found, axes))
    return plot_of(title, how, _together(reading, key, found, axes), names if len(names) > 1 else [])


def _with_room(axes: Axes, found: Sequence[Line]) -> Axes:
    """Return the axes with room for every point and whisker."""
    points = [point for each in found for point in each.points]
    xs = [*axes.xs, *(point.x for point in points)]
    return replace(axes, xs=xs, ys=[*(point.y for point in points), *(point.high or point.y for point in points)])


def _names(found: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(each.backend.name for each in found))


def _together(reading: Reading, key: str, found: Sequence[Line], axes: Axes) -> Iterator[Markup]:
    for index, (group, members) in enumerate(itertools.groupby(found, key=lambda each: each.group)):
        all_of = list(members)
        series = [Series(reading.marks[each.backend.name], each.points) for each in all_of]
        caption = group or all_of[0].backend.name if len(all_of) == 1 else group or "all cases"
        yield lines(f"{key}-{index}", caption, _words(all_of), series, axes)


def _apart(reading: Reading, key: str, found: Sequence[Line], axes: Axes) -> Iterator[Markup]:
    behind = [Series(reading.marks[each.backend.name], each.points) for each in found]
    ordered = sorted(found, key=lambda each: list(reading.marks).index(each.backend.name))
    for index, (name, members) in enumerate(itertools.groupby(ordered, key=lambda each: each.backend.name)):
        all_of = list(members)
        series = [Series(reading.marks[name], each.points, each.group) for each in all_of]
        yield lines(f"{key}-{index}", name, _words(all_of), series, axes, behind=behind)


def _words(found: Sequence[Line]) -> str:
    return "; ".join(point.words for each in found for point in each.points) + "."


def _axis(cases: Sequence[GridCase]) -> str | None:
    """Return the axis that has most values, the later one of two: more than one value, and every case has it."""
    values = {axis: {case.sizes.get(axis) for case in cases} for case in cases for axis in case.sizes}
    varied = {axis: len(found) for axis, found in values.items() if len(found) > 1 and None not in found}
    return max(reversed(varied), key=lambda axis: varied[axis]) if varied else None


def _groups(cases: Sequence[GridCase], axis: str) -> Mapping[str, list[GridCase]]:
    """Return the cases by what they have beside the axis, in words; axes with one value in all cases say nothing."""
    values = {name: {case.sizes.get(name) for case in cases} for case in cases for name in case.sizes}
    varied = [name for name, found in values.items() if len(found) > 1 and name != axis]
    groups: dict[str, list[GridCase]] = {}
    for case in cases:
        name = ", ".join(f"{name} {case.sizes[name]}" for name in varied if name in case.sizes)
        groups.setdefault(name, []).append(case)
    return groups
