"""The plots over an axis: latency by size, throughput by latency, latency by the rate of arrivals."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..percentiles import percentile
from ..result import Case, Contender, Load
from ..units import duration, measure, significant
from .lines import Axes, Point, Series, lines
from .plots import Plot, bars_by_contender, plot_of
from .reading import Reading
from .svg import Markup

# With more lines than this in a panel, each contender gets its own, before the pale lines of the others.
MOST_LINES = 7


@dataclass(frozen=True)
class Line:
    """One contender's points in one group of cases that differ in one thing only."""

    contender: Contender
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
        return plot_of("Latency by case", "p50 of every case, with a whisker to p90.", bars_by_contender(reading))
    found = [
        Line(contender, name, points)
        for name, cases in groups.items()
        for contender in reading.contenders
        if len(points := _sized(reading, contender, axis, cases)) > 1
    ]
    how = f"p50 over {axis}, with a whisker to p90. All panels have the same scales."
    sizes = sorted({float(case.sizes[axis]) for case in reading.result.cases})
    return _curves(reading, "size", "Latency by shape", how, found, Axes(axis, "latency, ms", sizes, [], sizes))


def _sized(reading: Reading, contender: Contender, axis: str, cases: Sequence[Case]) -> list[Point]:
    points = []
    for case in sorted(cases, key=lambda case: case.sizes[axis]):
        if (row := reading.result.row(case.name, contender.name)) and (samples := row.samples_ms):
            middle, high = (percentile(samples, part) for part in (0.5, 0.9))
            words = f"{contender.name} at {case.name}: p50 {duration(middle)}, p90 {duration(high)}"
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
                    for who in reading.contenders
                    if len(points := _served(reading, who, same)) > 1
                ]
    how = (
        "Up and to the left is better: each line goes from the smallest batch to the largest. "
        "Both scales are logarithmic where the values span much."
    )
    axes = Axes("p50, ms", f"{' or '.join(units)} a second", [], [])
    return _curves(reading, "throughput", "Throughput against latency", how, found, axes)


def _served(reading: Reading, contender: Contender, cases: Sequence[Case]) -> list[Point]:
    points = []
    for case in cases:
        row = reading.result.row(case.name, contender.name)
        if row and row.throughput is not None and math.isfinite(row.throughput) and (samples := row.samples_ms):
            middle, speed = percentile(samples, 0.5), measure(row.throughput, f"{case.unit}/s")
            words = f"{contender.name} at {case.name}: {speed} at p50 {duration(middle)}"
            points.append(Point(middle, row.throughput, words))
    return points


def by_rate(reading: Reading) -> Plot | None:
    """Return p50 and p99 over the rate of arrivals, for each case."""
    found = [
        Line(contender, f"{name}, {case.name}", points)
        for case in reading.result.cases
        for name, part in (("p50", 0.5), ("p99", 0.99))
        for contender in reading.contenders
        if (points := _arrived(reading.result.loads, case, contender, part))
    ]
    how = (
        "Calls arrive at random, this many a second, and wait for their turn: latency counts from the intended start. "
        "Where a line bends up, the contender does not keep up any more."
    )
    return _curves(reading, "rate", "Latency under load", how, found, Axes("arrivals a second", "latency, ms", [], []))


def _arrived(loads: Sequence[Load], case: Case, contender: Contender, part: float) -> list[Point]:
    points = []
    for load in sorted(loads, key=lambda load: load.rate):
        if (load.case, load.contender) == (case.name, contender.name) and (samples := load.samples_ms):
            value = percentile(samples, part)
            words = f"{contender.name}, {significant(load.rate)} arrivals a second: p{100 * part:g} {duration(value)}"
            points.append(Point(load.rate, value, words))
    return points


def _curves(reading: Reading, key: str, title: str, how: str, found: Sequence[Line], axes: Axes) -> Plot | None:
    """Return a panel for each group with all contenders, or where they are many one for each contender."""
    points = [point for each in found for point in each.points]
    xs = [*axes.xs, *(point.x for point in points)]
    axes = replace(axes, xs=xs, ys=[*(point.y for point in points), *(point.high or point.y for point in points)])
    names = list(dict.fromkeys(each.contender.name for each in found))
    if len(names) > MOST_LINES:
        return plot_of(title, f"{how} The pale lines are the other contenders.", _apart(reading, key, found, axes))
    return plot_of(title, how, _together(reading, key, found, axes), names if len(names) > 1 else [])


def _together(reading: Reading, key: str, found: Sequence[Line], axes: Axes) -> Iterator[Markup]:
    for index, (group, members) in enumerate(itertools.groupby(found, key=lambda each: each.group)):
        all_of = list(members)
        series = [Series(reading.marks[each.contender.name], each.points) for each in all_of]
        caption = group or all_of[0].contender.name if len(all_of) == 1 else group or "all cases"
        yield lines(f"{key}-{index}", caption, _words(all_of), series, axes)


def _apart(reading: Reading, key: str, found: Sequence[Line], axes: Axes) -> Iterator[Markup]:
    behind = [Series(reading.marks[each.contender.name], each.points) for each in found]
    ordered = sorted(found, key=lambda each: list(reading.marks).index(each.contender.name))
    for index, (name, members) in enumerate(itertools.groupby(ordered, key=lambda each: each.contender.name)):
        all_of = list(members)
        series = [Series(reading.marks[name], each.points, each.group) for each in all_of]
        yield lines(f"{key}-{index}", name, _words(all_of), series, axes, behind=behind)


def _words(found: Sequence[Line]) -> str:
    return "; ".join(point.words for each in found for point in each.points) + "."


def _axis(cases: Sequence[Case]) -> str | None:
    """Return the axis that has most values, the later one of two: more than one value, and every case has it."""
    values = {axis: {case.sizes.get(axis) for case in cases} for case in cases for axis in case.sizes}
    varied = {axis: len(found) for axis, found in values.items() if len(found) > 1 and None not in found}
    return max(reversed(varied), key=lambda axis: varied[axis]) if varied else None


def _groups(cases: Sequence[Case], axis: str) -> Mapping[str, list[Case]]:
    """Return the cases by what they have beside the axis, in words; axes with one value in all cases say nothing."""
    values = {name: {case.sizes.get(name) for case in cases} for case in cases for name in case.sizes}
    varied = [name for name, found in values.items() if len(found) > 1 and name != axis]
    groups: dict[str, list[Case]] = {}
    for case in cases:
        name = ", ".join(f"{name} {case.sizes[name]}" for name in varied if name in case.sizes)
        groups.setdefault(name, []).append(case)
    return groups
