"""The report's tables of figures: every row, the ratios to each baseline, the rates of arrivals."""

import math
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from ..result import BackendInfo, GridCase, Load, Row
from ..units import NOTHING, quartiles, share, significant, times
from .drawing import element
from .reading import Reading

_LATENCIES = ("p50", "p90", "p95", "p99", "mean", "deviation")
_CUT = 18  # names longer than this may be cut by the column's width, and are whole in a tooltip
_TALL = 40  # from so many rows the head stays in view


def rows_table(reading: Reading) -> Markup | None:
    """Return the table of all rows, a part for each case; a column without any figure is left out."""
    backends = {backend.name: backend for backend in reading.backends}
    cases = [(case, [row for row in reading.result.rows if row.case == case.name]) for case in reading.result.cases]
    filled = [(case, backends[row.backend], row) for case, rows in cases for row in rows]
    columns = [(name, cell) for name, cell in _columns() if any(cell(*each) != NOTHING for each in filled)]
    if not reading.result.rows:
        return None
    bodies = (
        element(
            "tbody",
            _case_line(case, len(columns) + 1),
            *(_row(case, backends[row.backend], row, columns) for row in rows),
        )
        for case, rows in cases
        if rows
    )
    caption = "Every row. Times in ms, memory in MB (2^20 bytes); failed rows give their reason."
    return _table(caption, ["backend", *(name for name, _ in columns)], bodies, len(reading.result.rows))


def _columns() -> list[tuple[str, Callable[[GridCase, BackendInfo, Row], str]]]:
    def latency(name: str) -> Callable[[GridCase, BackendInfo, Row], str]:
        return lambda _case, _contender, row: significant(row.latencies.get(name))

    return [
        ("precision", lambda _, backend, __: backend.precision or NOTHING),
        ("threads", lambda _, backend, __: str(backend.threads)),
        *((name, latency(name)) for name in _LATENCIES),
        ("throughput/s", lambda _, __, row: significant(row.throughput)),
        ("cold call", lambda _, __, row: significant(row.first_ms)),
        ("load", lambda _, backend, __: significant(backend.load_ms)),
        ("peak MB", lambda _, __, row: significant(row.peak_mb)),
        ("roofline", lambda _, __, row: share(row.roofline)),
        ("rel. error", lambda _, backend, __: _drift(backend.drift)),
        ("calls", lambda _, __, row: str(len(row.samples_ms) or NOTHING)),
    ]


def _drift(value: float | None) -> str:
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


def _row(
    case: GridCase,
    backend: BackendInfo,
    row: Row,
    columns: Sequence[tuple[str, Callable[[GridCase, BackendInfo, Row], str]]],
) -> Markup:
    if row.failed is not None:
        cell = element("td", "failed: ", row.failed, colspan=len(columns), class_="failed")
        return element("tr", _who(backend), cell)
    return element("tr", _who(backend), *(_cell(name, cell(case, backend, row)) for name, cell in columns))


def _cell(column: str, text: str) -> Markup:
    return element("td", text, class_=_kind(column))


def _kind(column: str) -> str | None:
    return "text" if column == "precision" else None


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
    return _table(caption, ["backend", *baselines], bodies, len(reading.compared) // len(baselines), class_="narrow")


def _ratio(found: object) -> Markup:
    if not isinstance(found, dict):
        return element("td", NOTHING)
    return element("td", times(found["median"]), " ", element("span", quartiles(found), class_="quartiles"))


def loads_table(reading: Reading) -> Markup | None:
    """Return the table of arrivals at random, or None where there were none."""
    if not reading.result.loads:
        return None
    units = {case.name: case.unit for case in reading.result.cases}
    bodies = []
    for case in reading.result.cases:
        rows = [_load(reading, load, units[case.name]) for load in reading.result.loads if load.case == case.name]
        if rows:
            bodies.append(element("tbody", _case_line(case, len(_LATENCIES) + 3), *rows))
    caption = "Poisson arrivals: latency in ms from the intended start, and throughput."
    head = ["backend", "requests/s", *_LATENCIES, "throughput/s"]
    return _table(caption, head, bodies, len(reading.result.loads))


def _load(reading: Reading, load: Load, unit: str) -> Markup:
    backend = next(each for each in reading.backends if each.name == load.backend)
    rate = element("td", significant(load.rate))
    if load.failed is not None:
        cell = element("td", "failed: ", load.failed, colspan=len(_LATENCIES) + 1, class_="failed")
        return element("tr", _who(backend), rate, cell)
    figures = (significant(load.latencies.get(name)) for name in _LATENCIES)
    served = f"{significant(load.throughput)} {unit}" if load.throughput is not None else NOTHING
    return element("tr", _who(backend), rate, *(element("td", each) for each in [*figures, served]))


def _table(caption: str, head: Sequence[str], bodies: Iterable[Markup], count: int, class_: str = "") -> Markup:
    """Return a table that scrolls by itself where it is wider than the page."""
    names = element("tr", *(element("th", name, scope="col", class_=_kind(name)) for name in head))
    table = element("table", element("thead", names), *bodies, class_=f"figures {class_}", aria_label=caption)
    tall = " tall" if count > _TALL else ""
    region = element("div", table, class_=f"scroll{tall}", tabindex="0", role="region", aria_label=caption)
    return element("figure", element("figcaption", caption), region, class_="data")
