"""The report's tables of figures: every row, the backends, the ratios to each baseline, the rates of arrivals."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ...runtime.amounts import counted
from ..result import BackendInfo, GridCase, Load, Row
from ..units import NOTHING, quartiles, share, significant, times
from .drawing import element
from .reading import FEWEST, Reading

_LATENCIES = ("p50", "p95", "p99")
_CUT = 18  # names longer than this may be cut by the column's width, and are whole in a tooltip
_TALL = 100  # from so many rows a table scrolls within the page


@dataclass(frozen=True)
class Column:
    """A figure of a row: its name with the unit, how it is shown, and which is the best of a case, if one is."""

    name: str
    value: Callable[[Row], float | None]
    shown: Callable[[float | None], str] = significant
    best: Callable[[Iterable[float]], float] | None = min


def rows_table(reading: Reading) -> Markup | None:
    """Return the table of all rows, a part for each case; a column without any figure is left out."""
    result = reading.result
    if not result.rows:
        return None
    columns = [
        column
        for column in _columns(_units(reading))
        if any(column.shown(column.value(row)) != NOTHING for row in result.rows)
    ]
    bodies = [
        element("tbody", _case_line(case, len(columns) + 1), *_rows(reading, rows, columns))
        for case in result.cases
        if (rows := [row for row in result.rows if row.case == case.name])
    ]
    caption = (
        f"{_count(len(result.rows))}; the best figure of a case is bold if every backend has {FEWEST} calls. "
        "p90, mean and deviation are in the CSV and JSON."
    )
    return _table(caption, ["backend", *(column.name for column in columns)], bodies, len(result.rows), class_="wide")


def _columns(units: str) -> list[Column]:
    def latency(name: str) -> Column:
        return Column(f"{name}, ms", lambda row: row.latencies.get(name))

    return [
        *map(latency, _LATENCIES),
        Column(f"throughput, {units}/s", lambda row: row.throughput, best=max),
        Column("cold call, ms", lambda row: row.first_ms),
        Column("peak RSS, MB", lambda row: row.peak_mb),
        Column("roofline efficiency", lambda row: row.roofline, share, max),
        Column("calls", lambda row: float(len(row.samples_ms)) or None, _whole, None),
    ]


def _units(reading: Reading) -> str:
    return " or ".join(dict.fromkeys(case.unit for case in reading.result.cases))


def _whole(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0f}"


def _rows(reading: Reading, rows: Sequence[Row], columns: Sequence[Column]) -> Iterable[Markup]:
    backends = {backend.name: backend for backend in reading.backends}
    best = {column.name: _best(rows, column) for column in columns}
    for row in rows:
        who = _who(backends[row.backend])
        if row.failed is not None:
            yield element("tr", who, element("td", "failed: ", row.failed, colspan=len(columns), class_="failed"))
        else:
            figures = ((column.shown(column.value(row)), best[column.name]) for column in columns)
            yield element(
                "tr", who, *(element("td", element("b", text) if text == top else text) for text, top in figures)
            )


def _best(rows: Sequence[Row], column: Column) -> str | None:
    """Return the best figure as it is shown; there is none of a single row, or of too few calls."""
    measured = [row for row in rows if row.samples_ms]
    known = [value for row in measured if (value := column.value(row)) is not None and math.isfinite(value)]
    if column.best is None or len(known) < 2 or min(len(row.samples_ms) for row in measured) < FEWEST:
        return None
    return column.shown(column.best(known))


def backends_table(reading: Reading) -> Markup | None:
    """Return what is the same of a backend in every case."""
    head = ["backend", "precision", "threads", "load, ms", "max rel. error"]
    rows = [
        element("tr", _who(each), element("td", each.precision or NOTHING, class_="text"), *_facts(each))
        for each in reading.backends
    ]
    if not rows:
        return None
    caption = "Backends. Load is what comes before the cold call; the error is against PyTorch float32."
    return _table(caption, head, [element("tbody", *rows)], len(rows))


def _facts(backend: BackendInfo) -> Iterable[Markup]:
    return (element("td", text) for text in (str(backend.threads), significant(backend.load_ms), _error(backend.drift)))


def _error(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e+") if 0 < value < 0.001 else significant(value, 2)


def _case_line(case: GridCase, width: int) -> Markup:
    sizes = [said for axis, size in case.sizes.items() if (said := f"{axis} {size}") not in case.name]
    unit = case.unit.removesuffix("s") if case.count == 1 else case.unit
    about = element("span", ", ".join([*sizes, f"{case.count} {unit} a run"]), class_="about")
    return element(
        "tr", element("th", element("span", case.name, " ", about), colspan=width, scope="rowgroup"), class_="case"
    )


def _who(backend: BackendInfo) -> Markup:
    name, class_ = backend.name, "own" if backend.is_own else None
    return element("th", name, scope="row", class_=class_, title=name if len(name) > _CUT else None)


def ratios_table(reading: Reading) -> Markup | None:
    """Return the ratio to each baseline of each of ours on each case, or None where there is none."""
    baselines = list(dict.fromkeys(each.baseline for each in reading.compared))
    found = {(each.case, each.ours, each.baseline): each.found for each in reading.compared}
    if not found:
        return None
    bodies = []
    for case in reading.result.cases:
        ours = [each for each in reading.backends if any((case.name, each.name, name) in found for name in baselines)]
        rows = [
            element("tr", _who(each), *(_ratio(found.get((case.name, each.name, baseline))) for baseline in baselines))
            for each in ours
        ]
        if rows:
            bodies.append(element("tbody", _case_line(case, len(baselines) + 1), *rows))
    caption = "Speedup over each baseline (baseline time / vitrify time), with quartiles: above 1x, vitrify is faster."
    return _table(caption, ["backend", *baselines], bodies, len(reading.compared) // len(baselines))


def _ratio(found: object) -> Markup:
    if not isinstance(found, dict):
        return element("td", NOTHING)
    range_ = element("span", quartiles(found), class_="quartiles")
    return element("td", times(found["median"]), " ", range_, class_="slower" if found["q3"] < 1 else None)


def loads_table(reading: Reading) -> Markup | None:
    """Return the table of arrivals at random, or None where there were none."""
    if not reading.result.loads:
        return None
    bodies = []
    for case in reading.result.cases:
        rows = [_load(reading, load) for load in reading.result.loads if load.case == case.name]
        if rows:
            bodies.append(element("tbody", _case_line(case, len(_LATENCIES) + 3), *rows))
    count = len(reading.result.loads)
    caption = f"Poisson arrivals, {_count(count)}: latency from the intended start, and throughput."
    names = (f"{name}, ms" for name in _LATENCIES)
    head = ["backend", "requests/s", *names, f"throughput, {_units(reading)}/s"]
    return _table(caption, head, bodies, count)


def _load(reading: Reading, load: Load) -> Markup:
    backend = next(each for each in reading.backends if each.name == load.backend)
    rate = element("td", significant(load.rate))
    if load.failed is not None:
        cell = element("td", "failed: ", load.failed, colspan=len(_LATENCIES) + 1, class_="failed")
        return element("tr", _who(backend), rate, cell)
    figures = [*map(load.latencies.get, _LATENCIES), load.throughput]
    return element("tr", _who(backend), rate, *(element("td", significant(each)) for each in figures))


def _count(rows: int) -> str:
    said = counted(rows, "row")
    return f"{said}, scroll for all" if rows >= _TALL else said


def _table(caption: str, head: Sequence[str], bodies: Iterable[Markup], count: int, class_: str = "narrow") -> Markup:
    """Return a table that scrolls by itself where it is wider than the page, with a shade at the side that is cut."""
    kinds = {"precision": "text"}
    names = element("tr", *(element("th", name, scope="col", class_=kinds.get(name)) for name in head))
    table = element("table", element("thead", names), *bodies, class_=f"figures {class_}", aria_label=caption)
    tall = " tall" if count >= _TALL else ""
    region = element("div", table, class_=f"scroll{tall}", tabindex="0", role="region", aria_label=caption)
    return element("figure", element("figcaption", caption), region, class_=f"data {class_}")
