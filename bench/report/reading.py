"""A result as the report reads it: ratios computed once, what failed, and how each backend is marked."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...runtime.amounts import counted
from ..result import BackendInfo, GridCase, Load, Result, Row

# Colours and shapes change together, so that neighbours differ in both, and the first twelve are all different.
COLOURS, SHAPES = 6, 4


# Quartiles of fewer samples say little.
FEWEST = 8
_PEAKS = 1.0


def _cautions(result: Result) -> Iterator[str]:
    before = result.environment.get("before")
    load = before.get("load") if isinstance(before, Mapping) else None
    cores = result.environment.get("cores")
    if isinstance(load, int | float) and isinstance(cores, int) and load > cores / 2:
        yield f"the machine was busy before the measurement (load {load:g} on {counted(cores, 'core')}): measure again"
    if above := sorted({row.backend for row in result.rows if (row.roofline or 0) > _PEAKS}):
        yield f"roofline efficiency above 100 % ({', '.join(above)}): the peaks were measured while others ran"
    if few := [len(row.samples_ms) for row in result.rows if 0 < len(row.samples_ms) < FEWEST]:
        yield f"a backend has only {counted(min(few), 'call')} in a case, and quartiles need {FEWEST}: raise --rounds"


@dataclass(frozen=True)
class Mark:
    """How a backend looks in every plot: one of the colours, one of the shapes, filled where it is ours."""

    colour: int
    shape: int
    is_own: bool

    @property
    def classes(self) -> str:
        """The classes that give the colour and the filling."""
        return f"c{self.colour} {'own' if self.is_own else 'baseline'}"


@dataclass(frozen=True)
class Compared:
    """A baseline beside one of ours: `found` is how many times as long the baseline takes, with quartiles."""

    case: str
    baseline: str
    ours: str
    found: Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """The result, and what several parts of the report need of it."""

    result: Result
    backends: tuple[BackendInfo, ...]  # ours first
    marks: Mapping[str, Mark]
    compared: tuple[Compared, ...]

    @property
    def measured(self) -> list[Row]:
        """The rows that have samples."""
        return [row for row in self.result.rows if row.samples_ms]

    @property
    def cautions(self) -> list[str]:
        """What makes the figures less than they seem."""
        return list(_cautions(self.result))

    @property
    def failures(self) -> dict[tuple[str, str], list[str]]:
        """Where each backend failed, for each of its reasons."""
        found: dict[tuple[str, str], list[str]] = {}
        for record in (*self.result.rows, *self.result.loads):
            if record.failed is not None:
                where = f"{record.case} at {record.rate:.3g} a second" if isinstance(record, Load) else record.case
                found.setdefault((record.backend, record.failed), []).append(where)
        return found

    def measured_on(self, case: GridCase) -> Iterator[tuple[BackendInfo, Row]]:
        """Yield what was measured on a case, in the order of the backends."""
        there = {row.backend: row for row in self.measured if row.case == case.name}
        return ((backend, there[backend.name]) for backend in self.backends if backend.name in there)


def read(result: Result) -> Reading:
    """Return the reading of a result."""
    result = _with_times(result)
    backends = tuple(sorted(result.backends, key=lambda backend: not backend.is_own))
    marks = {
        backend.name: Mark(index % COLOURS, index % SHAPES, backend.is_own) for index, backend in enumerate(backends)
    }
    compared = (
        Compared(ours.case, other.backend, ours.backend, found)
        for other, ours, found in result.ratios()
        if all(map(math.isfinite, found.values()))
    )
    return Reading(result, backends, marks, tuple(compared))


def _with_times(result: Result) -> Result:
    """Return the result without samples that are no times, as a file that was written by hand may hold."""
    rows, loads = (
        tuple(replace(each, samples_ms=tuple(ms for ms in each.samples_ms if 0 < ms < math.inf)) for each in records)
        for records in (result.rows, result.loads)
    )
    return replace(result, rows=rows, loads=loads)
