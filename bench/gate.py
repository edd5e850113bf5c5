"""The performance gate: conditions on a result's figures, and on their ratios to a baseline from the same machine."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from ..runtime.errors import PerformanceError, UsageError
from ..runtime.verification.conditions import Condition
from .result import BackendInfo, Result, Row

# What must be the same for a ratio to mean something.
_MACHINE = ("cpu", "features", "cores")
_TIMES = ("p50", "p90", "p95", "p99", "mean")


def check_baseline(result: Mapping[str, object], baseline: Result, *, forced: bool = False) -> None:
    """Raise UsageError where a baseline comes from another machine than `result` (an environment), unless forced."""
    for name in _MACHINE:
        if not forced and result.get(name) != baseline.environment.get(name):
            raise UsageError(
                f"the baseline is from another machine (its {name}: {baseline.environment.get(name)}, here: "
                f"{result.get(name)}), so ratios mean nothing: measure one here, or pass --force"
            )


def require_kept(result: Result, conditions: Sequence[Condition], baseline: Result | None = None) -> None:
    """Raise PerformanceError naming every condition that holds of a row of ours, or a row of ours that failed.

    The figures are p50, p90, p95, p99, mean (ms), throughput, first (ms), load (ms), peak (MB), roofline; for every
    baseline NAME_ratio, how many times as long it takes; and with a baseline p50_ratio and so on, now over then. Raises
    UsageError for a condition on a figure that no row has.
    """
    broken = []
    seen: set[str] = set()
    for row, backend in _own_rows(result):
        if row.failed and conditions:
            broken.append(f"{row.backend} at {row.case} has no figure: {row.failed}")
            continue
        found = figures(result, row, backend, baseline)
        seen |= set(found)
        broken += [
            f"{row.backend} at {row.case}: {condition} ({condition.name} is {found[condition.name]:.4g})"
            for condition in conditions
            if condition.name in found and condition.holds(found)
        ]
    for condition in conditions:
        if condition.name not in seen and not broken:
            condition.holds(dict.fromkeys(sorted(seen), 0.0))  # which says that there is no such figure
    if broken:
        raise PerformanceError(f"the performance gate failed: {'; '.join(broken)}")


def known_figures(against: Collection[str], *, with_baseline: bool) -> list[str]:
    """Return the names that conditions may use where these baselines, and a result to compare with, are asked for."""
    ratios = [f"{name.replace('-', '_')}_ratio" for name in against]
    before = [f"{name}_ratio" for name in (*_TIMES, "throughput")] if with_baseline else []
    return [*_TIMES, "deviation", "throughput", "first", "load", "peak", "roofline", *ratios, *before]


def figures(result: Result, row: Row, backend: BackendInfo, baseline: Result | None) -> dict[str, float]:
    """Return a row's figures by the names that conditions use."""
    found = {**row.latencies, "throughput": row.throughput, "first": row.first_ms, "load": backend.load_ms}
    found |= {"peak": row.peak_mb, "roofline": row.roofline}
    for other, ratio in result.ratios_to(row):
        found[f"{other.backend.replace('-', '_')}_ratio"] = ratio["median"]
    if baseline is not None and (before := baseline.row(row.case, row.backend)) is not None and before.samples_ms:
        found |= {f"{name}_ratio": row.latencies[name] / before.latencies[name] for name in _TIMES}
        if row.throughput and before.throughput:
            found["throughput_ratio"] = row.throughput / before.throughput
    return {name: value for name, value in found.items() if value is not None}


def _own_rows(result: Result) -> Iterator[tuple[Row, BackendInfo]]:
    own = {backend.name: backend for backend in result.backends if backend.is_own}
    return ((row, own[row.backend]) for row in result.rows if row.backend in own)
