"""A benchmark's result as lines for a terminal: figures in columns, ratios to each peer, what failed at the end."""

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .report.drawing import clean
from .report.reading import Reading, read
from .result import Load, Result, Row
from .units import NOTHING, measure, quartiles, share, significant, times

WIDTH = 120
_TIMES = ("p50", "p90", "p99")
_GAP = "  "
Table = list[list[str]]
# The ratios of one row by peer.
Ratios = Mapping[str, Mapping[str, float]]


def table_lines(result: Result) -> list[str]:
    """Return the lines, without colours; at most 120 columns wide unless names are very long."""
    reading = read(result)
    parts = [
        [f"interrupted at {clean(result.interrupted)}: what came after is missing"] if result.interrupted else [],
        *_rows(reading),
        _loads(reading),
        list(_failures(reading)),
    ]
    lines = [line for part in parts if part for line in ["", *part]]
    return lines[1:] or ["nothing was measured"]


def _rows(reading: Reading) -> Iterator[list[str]]:
    """Yield the figures, and the ratios beside them where there is room, else below."""
    if not reading.measured:
        return
    figures = _figures(reading)
    peers = list(dict.fromkeys(each.peer for each in reading.compared))
    found = [_ratios(reading, row) for row in reading.measured]
    note = "Under a peer's name: how many times as long it takes, with quartiles; above 1x ours is faster."
    beside = [left + right for left, right in zip(figures, _columns(peers, found), strict=True)]
    if not peers:
        yield _aligned(figures)
    elif _fits(lines := _aligned(beside)):
        yield [*lines, note]
    else:
        yield _aligned(figures)
        yield [note, *_below(reading, peers, found)]


def _figures(reading: Reading) -> Table:
    """Return a head and a line for each row; a column without any figure is left out."""
    head = ["case", "contender", *(f"{name} ms" for name in _TIMES), "served/s", "peak MB", "limit"]
    body = []
    for row, case in zip(reading.measured, _case_names(reading.measured), strict=True):
        limit = share(row.roofline).replace("\u00a0", "")
        figures = [_served(reading, row), significant(row.peak_mb), limit]
        body.append([case, row.contender, *(significant(row.latencies[name]) for name in _TIMES), *figures])
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
    return {each.peer: each.found for each in reading.compared if (each.case, each.ours) == (row.case, row.contender)}


def _columns(peers: Sequence[str], found: Sequence[Ratios]) -> Table:
    return [list(peers), *([_ratio(ratios[peer]) if peer in ratios else "" for peer in peers] for ratios in found)]


def _ratio(found: Mapping[str, float]) -> str:
    return f"{times(found['median'])} {quartiles(found)}"


def _below(reading: Reading, peers: Sequence[str], found: Sequence[Ratios]) -> list[str]:
    """Return the ratios as a table of their own, or in sentences where that is too wide."""
    ours = [(row, ratios) for row, ratios in zip(reading.measured, found, strict=True) if ratios]
    cases = _case_names(row for row, _ in ours)
    names = [["case", "contender"], *([case, row.contender] for case, (row, _) in zip(cases, ours, strict=True))]
    columns = _columns(peers, [ratios for _, ratios in ours])
    lines = _aligned([left + right for left, right in zip(names, columns, strict=True)])
    if _fits(lines):
        return lines
    said = (
        f"{row.case}, {row.contender}: " + ", ".join(f"{peer} {_ratio(each)}" for peer, each in ratios.items())
        for row, ratios in ours
    )
    return [line for text in said for line in _wrapped(text)]


def _loads(reading: Reading) -> list[str]:
    loads = [load for load in reading.result.loads if load.samples_ms]
    if not loads:
        return []
    head = ["case", "contender", "arrivals/s", *(f"{name} ms" for name in _TIMES), "served/s"]
    body = []
    for case, load in zip(_case_names(loads), loads, strict=True):
        figures = (significant(load.latencies[name]) for name in _TIMES)
        body.append([case, load.contender, significant(load.rate), *figures, _served(reading, load)])
    return ["Arrivals at random; latency counts from the intended start:", *_aligned([head, *body])]


def _failures(reading: Reading) -> Iterable[str]:
    """Yield each reason once for a contender, with the cases that it is the reason of."""
    if reading.failures:
        yield "not measured:"
    for (contender, reason), places in reading.failures.items():
        yield from _wrapped(f"  {contender} ({', '.join(places)}): {reason}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(clean(text), WIDTH, subsequent_indent="    ", break_on_hyphens=False)


def _aligned(table: Table) -> list[str]:
    """Return the lines of a table with a head: names to the left, figures to the right."""
    cells = [[clean(cell).replace("\u00a0", " ") for cell in line] for line in table]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    lines = [_line(cell, widths) for cell in cells]
    return [lines[0], _GAP.join("-" * width for width in widths), *lines[1:]]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        room = " " * (width - _width(cell))
        padded.append(cell + room if place < 2 else room + cell)
    return _GAP.join(padded).rstrip()


def _fits(lines: Iterable[str]) -> bool:
    return max(map(_width, lines)) <= WIDTH


def _width(text: str) -> int:
    """Return how many columns a text takes: wide characters take two, what combines with others none."""
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
