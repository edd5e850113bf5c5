"""A benchmark's result as text: tables of figures, ratios to each baseline, failures at the end; it prints nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from .report.drawing import clean
from .report.reading import Reading, read
from .result import Load, Result, Row
from .units import NOTHING, measure, quartiles, share, significant, times

WIDTH = 120
_TIMES = ("p50", "p90", "p99")
_RULED = Box("    \n    \n----\n" + 5 * "    \n", ascii=True)  # a rule below the head, nothing else
# A head, and the rows below it.
Cells = list[list[str]]
Part = str | Table
# The ratios of one row by baseline.
Ratios = Mapping[str, Mapping[str, float]]


def table_parts(result: Result) -> list[Part]:
    """Return texts of a line each, and tables; ratios stand beside the figures if that is at most 120 columns wide."""
    reading = read(result)
    groups = [
        [f"interrupted at {clean(result.interrupted)}: what came after is missing"] if result.interrupted else [],
        *_rows(reading),
        _loads(reading),
        ["caution:", *(f"  {clean(text)}" for text in reading.cautions)] if reading.cautions else [],
        list(_failures(reading)),
    ]
    parts = [part for group in groups if group for part in ["", *group]]
    return parts[1:] or ["nothing was measured"]


def figures_table(cells: Cells, *, names: int) -> Table:
    """Return a table whose first columns are names, to the left; figures keep the width that they need."""
    head, *rows = [[clean(cell).replace("\u00a0", " ") for cell in line] for line in cells]
    table = Table(box=_RULED, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for place, column in enumerate(zip(head, *rows, strict=True)):
        if place < names:
            table.add_column(column[0], overflow="fold")
        else:
            table.add_column(column[0], justify="right", no_wrap=True, min_width=max(map(cell_len, column)))
    for row in rows:
        table.add_row(*row)
    return table


def _rows(reading: Reading) -> Iterator[list[Part]]:
    """Yield the figures, and the ratios beside them where there is room, else below."""
    if not reading.measured:
        return
    figures = _figures(reading)
    baselines = list(dict.fromkeys(each.baseline for each in reading.compared))
    found = [_ratios(reading, row) for row in reading.measured]
    note = "Columns of baselines: speedup (baseline time / vitrify time) with quartiles; above 1x vitrify is faster."
    beside = [left + right for left, right in zip(figures, _columns(baselines, found), strict=True)]
    if not baselines:
        yield [figures_table(figures, names=2)]
    elif _fits(table := figures_table(beside, names=2)):
        yield [table, note]
    else:
        yield [figures_table(figures, names=2)]
        yield [note, *_below(reading, baselines, found)]


def _figures(reading: Reading) -> Cells:
    """Return a head and a line for each row; a column without any figure is left out."""
    head = ["case", "backend", *(f"{name} ms" for name in _TIMES), "throughput/s", "peak MB", "roofline"]
    body = []
    for row, case in zip(reading.measured, _case_names(reading.measured), strict=True):
        limit = share(row.roofline).replace("\u00a0", "")
        figures = [_served(reading, row), significant(row.peak_mb), limit]
        body.append([case, row.backend, *(significant(row.latencies[name]) for name in _TIMES), *figures])
    kept = [place for place in range(len(head)) if any(line[place] != NOTHING for line in body)]
    return [[line[place] for place in kept] for line in [head, *body]]


def _case_names(records: Iterable[Row | Load]) -> Iterator[str]:
    """Yield the name of each record's case, which stands only once for those of the same."""
    before = None
    for record in records:
        yield "" if record.case == before else record.case
        before = record.case


def _served(reading: Reading, record: Row | Load) -> str:
    unit = next(case.unit for case in reading.result.cases if case.name == record.case)
    return measure(record.throughput, unit)


def _ratios(reading: Reading, row: Row) -> Ratios:
    return {each.baseline: each.found for each in reading.compared if (each.case, each.ours) == (row.case, row.backend)}


def _columns(baselines: Sequence[str], found: Sequence[Ratios]) -> Cells:
    return [
        list(baselines),
        *([_ratio(ratios[name]) if name in ratios else "" for name in baselines] for ratios in found),
    ]


def _ratio(found: Mapping[str, float]) -> str:
    return f"{times(found['median'])} {quartiles(found)}"


def _below(reading: Reading, baselines: Sequence[str], found: Sequence[Ratios]) -> list[Part]:
    """Return the ratios as a table of their own, or in sentences where that is too wide."""
    ours = [(row, ratios) for row, ratios in zip(reading.measured, found, strict=True) if ratios]
    cases = _case_names(row for row, _ in ours)
    names = [["case", "backend"], *([case, row.backend] for case, (row, _) in zip(cases, ours, strict=True))]
    columns = _columns(baselines, [ratios for _, ratios in ours])
    table = figures_table([left + right for left, right in zip(names, columns, strict=True)], names=2)
    if _fits(table):
        return [table]
    said = (
        f"{row.case}, {row.backend}: " + ", ".join(f"{baseline} {_ratio(each)}" for baseline, each in ratios.items())
        for row, ratios in ours
    )
    return [clean(text) for text in said]


def _loads(reading: Reading) -> list[Part]:
    loads = [load for load in reading.result.loads if load.samples_ms]
    if not loads:
        return []
    head = ["case", "backend", "requests/s", *(f"{name} ms" for name in _TIMES), "throughput/s"]
    body = []
    for case, load in zip(_case_names(loads), loads, strict=True):
        figures = (significant(load.latencies[name]) for name in _TIMES)
        body.append([case, load.backend, significant(load.rate), *figures, _served(reading, load)])
    return ["Poisson arrivals; latency counts from the intended start:", figures_table([head, *body], names=2)]


def _failures(reading: Reading) -> Iterable[str]:
    """Yield each reason once for a backend, with the cases that it is the reason of."""
    if reading.failures:
        yield "not measured:"
    for (backend, reason), places in reading.failures.items():
        yield clean(f"  {backend} ({', '.join(places)}): {reason}")


def _fits(table: Table) -> bool:
    return Console(width=10 * WIDTH, markup=False).measure(table).maximum <= WIDTH
