"""`vitrify trace`: where the time of a bundle goes, per node and per type of operator."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from ..runtime.bundle.reading import read_bundle
from ..runtime.errors import EnvironmentMissing, UsageError
from .backends.bundle import one_run
from .op_times import Run, by_node, by_operator, perfetto, read_traces, runs_of, traced_bundle
from .result import GridCase
from .table import Part, figures_table
from .workload import Workload, workload

_WARM = 2
_SHOWN = 0.001  # of the time


@dataclass(frozen=True)
class Trace:
    """A bundle's profile, traced: the sizes of each call, the `calls` that were traced, and every run of a graph."""

    bundle: str
    profile: str
    sizes: Mapping[str, int]
    calls: int
    runs: tuple[Run, ...]
    file: Path | None = None


def trace_bundle(
    folder: Path,
    *,
    profile: str | None,
    sizes: Mapping[str, Sequence[int]],
    threads: int | None,
    runs: int,
    output: Path | None,
) -> Trace:
    """Run a bundle under its runtime's profiler, twice to warm up and then `runs` times; write the trace to `output`.

    Raises
    ------
    UsageError
        An axis that is none, several sizes of one, or no runs.
    UnsupportedError
        A profile that is not run node by node.
    EnvironmentMissing
        `output` cannot be written.

    """
    if runs < 1:
        raise UsageError(f"--runs: got {runs}, expected at least 1")
    with tempfile.TemporaryDirectory(prefix="vitrify-trace-") as scratch:
        into = Path(scratch)
        with traced_bundle(read_bundle(folder, profile), into, profile=profile, threads=threads) as bundle:
            work = workload(bundle.bundle, bundle.config, sizes)
            case = _single_case(work, sizes)
            run = one_run(bundle, **work.arguments(case, into))
            for _ in range(_WARM + runs):
                run()
        traces = read_traces(into)
    _write_trace(output, traces)
    kept = tuple(_after_warming(runs_of(traces), calls=_WARM + runs))
    return Trace(bundle.name, bundle.profile.name, case.sizes, runs, kept, output)


def describe_trace(trace: Trace, *, top: int) -> tuple[dict[str, Any], list[Part]]:
    """Return the document, per call, and a line above two tables: types of operators, and the longest nodes."""
    operators, nodes = by_operator(trace.runs), by_node(trace.runs)
    inside = sum(row["ms"] for row in operators)
    whole = sum(run.microseconds for run in trace.runs) / 1000
    document = {
        "bundle": trace.bundle,
        "profile": trace.profile,
        "sizes": dict(trace.sizes),
        "calls": trace.calls,
        "ms_per_call": whole / trace.calls,
        "ms_between_nodes": (whole - inside) / trace.calls,
        "operators": operators,
        "nodes": nodes,
        "trace": str(trace.file) if trace.file else None,
    }
    where = " x ".join(f"{axis} {size}" for axis, size in trace.sizes.items())
    head = f"{trace.bundle}, {trace.profile}, {where}: {whole / trace.calls:.2f} ms per call under the profiler, "
    tables = [_table("operator", operators, trace.calls), "", _table("node", nodes[:top], trace.calls)]
    parts = [f"{head}{(whole - inside) / trace.calls:.2f} ms of it between nodes", "", *tables]
    return document, [*parts, *([f"trace: {trace.file} (open it in ui.perfetto.dev)"] if trace.file else [])]


def _table(head: str, rows: Sequence[Mapping[str, Any]], calls: int) -> Table:
    cells = [[head, "calls", "ms", "share", "GFLOP/s"]]
    for row in (row for row in rows if row["share"] >= _SHOWN):
        speed = f"{row['gflops']:.1f}" if row["gflops"] else ""
        figures = [f"{row['calls'] / calls:.1f}", f"{row['ms'] / calls:.3f}", f"{row['share']:.1%}", speed]
        cells.append([row["name"], *figures])
    return figures_table(cells, names=1)


def _single_case(work: Workload, given: Mapping[str, Sequence[int]]) -> GridCase:
    """Return the one case that is asked for: of axes that are not given, a batch of the fewest and most of others."""
    if several := [axis for axis, values in given.items() if len(values) > 1]:
        raise UsageError(f"a trace is of one size: '{several[0]}' was given {len(given[several[0]])}")
    sizes = {axis: values[0 if axis == "batch" else -1] for axis, values in work.grid.items()}
    return next(case for case in work.cases() if case.sizes == sizes)


def _after_warming(runs: Sequence[Run], *, calls: int) -> Iterator[Run]:
    """Yield the runs of every graph without those of the calls that warmed up: every call makes as many."""
    whole, seen = Counter(run.graph for run in runs), Counter[str]()
    for run in runs:
        seen[run.graph] += 1
        if seen[run.graph] > _WARM * whole[run.graph] // calls:
            yield run


def _write_trace(path: Path | None, traces: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    if path is None:
        return
    try:
        path.write_text(json.dumps(perfetto(traces)), encoding="utf-8")
    except OSError as error:
        raise EnvironmentMissing(
            f"'{path}' cannot be written ({error.strerror}): choose another file with -o"
        ) from error
