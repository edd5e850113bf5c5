"""A benchmark's result: what its JSON holds, as typed records; it measures nothing and draws nothing.

Times are in milliseconds, memory in MB (2**20 bytes), and every sample that was taken is kept.
"""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ..runtime.bundle.files import write_synced
from ..runtime.errors import IntegrityError, UsageError
from .percentiles import latencies, paired, ratio

SCHEMA = 1
# What the document calls fields of ours, since its first release.
_KEYS = {"backends": "contenders", "backend": "contender"}


@dataclass(frozen=True)
class GridCase:
    """A point of the grid: `sizes` by axis (batch, sequence, height, new tokens), and what one run of it is worth.

    One run gives `count` of `unit` (rows, or tokens written). `flops` and `bytes` are what the model's graph in float32
    computes and reads at least for it, 0 where unknown.
    """

    name: str
    sizes: Mapping[str, int]
    count: int
    unit: str
    flops: float = 0.0
    bytes: float = 0.0


@dataclass(frozen=True)
class BackendInfo:
    """What was measured: a profile of the model (`is_own`), or a baseline; `precision` in words, drift if recorded."""

    name: str
    is_own: bool
    precision: str
    threads: int
    drift: float | None = None
    load_ms: float | None = None


class _Sampled:
    """What has samples."""

    samples_ms: tuple[float, ...]

    @property
    def latencies(self) -> dict[str, float]:
        """p50, p90, p95, p99, mean and deviation in ms; empty where it failed."""
        return latencies(self.samples_ms) if self.samples_ms else {}


@dataclass(frozen=True)
class Row(_Sampled):
    """One backend on one case, calls one after the other: `samples_ms` in rounds, or why there are none (`failed`).

    `first_ms` is the first call after loading, `peak_mb` the most memory that was resident. `roofline` is the share
    of the machine's limit: the least time that `flops` and `bytes` take at the peaks of its precision, over p50.
    """

    case: str
    backend: str
    samples_ms: tuple[float, ...] = ()
    first_ms: float | None = None
    peak_mb: float | None = None
    throughput: float | None = None
    roofline: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Load(_Sampled):
    """One backend on one case under arrivals at random, `rate` a second: latency counts from the intended start.

    `throughput` is what was served, in the case's unit a second.
    """

    case: str
    backend: str
    rate: float
    samples_ms: tuple[float, ...] = ()
    throughput: float | None = None
    failed: str | None = None


@dataclass(frozen=True)
class Result:
    """A whole run. `model` names it, `environment` is the machine, `settings` is what was asked for.

    `peaks` are the machine's limits, measured in the same run: gflops (float32 GEMM), gflops_bf16 and gflops_int8
    where the CPU has instructions for them, gigabytes_per_second (memory).
    `interrupted` names the case at which Ctrl-C came; what was measured before is here.
    """

    model: Mapping[str, Any]
    environment: Mapping[str, Any]
    settings: Mapping[str, Any]
    cases: tuple[GridCase, ...]
    backends: tuple[BackendInfo, ...]
    rows: tuple[Row, ...]
    loads: tuple[Load, ...] = ()
    peaks: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    interrupted: str | None = None

    def row(self, case: str, backend: str) -> Row | None:
        """Return the row of a backend on a case, or None where it was not reached."""
        return next((row for row in self.rows if (row.case, row.backend) == (case, backend)), None)

    def ratios(self) -> Iterator[tuple[Row, Row, dict[str, float]]]:
        """Yield each baseline's row, ours on the same case, and how many times as long it takes (with quartiles)."""
        own = {backend.name for backend in self.backends if backend.is_own}
        for ours in self.rows:
            if ours.backend in own:
                yield from ((other, ours, found) for other, found in self.ratios_to(ours))

    def ratios_to(self, ours: Row) -> Iterator[tuple[Row, dict[str, float]]]:
        """Yield each baseline's row on the case of one of ours, and how many times as long the baseline takes."""
        own = {backend.name for backend in self.backends if backend.is_own}
        for other in self.rows:
            if other.case == ours.case and other.backend not in own and other.samples_ms and ours.samples_ms:
                yield other, ratio(*paired(other.samples_ms, ours.samples_ms))

    def to_json(self) -> dict[str, Any]:
        """Return the document, figures beside the samples they come from."""
        content = dataclasses.asdict(self, dict_factory=_keyed)
        for name, records in (("rows", self.rows), ("loads", self.loads)):
            for item, record in zip(content[name], records, strict=True):
                item["latency_ms"] = record.latencies
        content["ratios"] = [
            {"case": ours.case, "peer": other.backend, "contender": ours.backend, **found}
            for other, ours, found in self.ratios()
        ]
        return {"schema": SCHEMA, **content}

    def to_csv(self) -> str:
        """Return one line for each row, without the samples."""
        sizes = list(dict.fromkeys(axis for case in self.cases for axis in case.sizes))
        file = io.StringIO()
        names = ["p50", "p90", "p95", "p99", "mean", "deviation"]
        head = ["case", *sizes, _KEYS["backend"], "precision", "threads", *(f"{name}_ms" for name in names)]
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*head, "throughput", "unit", "first_ms", "load_ms", "peak_mb", "roofline", "failed"])
        cases = {case.name: case for case in self.cases}
        backends = {backend.name: backend for backend in self.backends}
        for row in self.rows:
            case, backend = cases[row.case], backends[row.backend]
            who = [backend.name, backend.precision, backend.threads]
            figures = [row.latencies.get(name) for name in names]
            more = [row.throughput, case.unit, row.first_ms, backend.load_ms, row.peak_mb, row.roofline, row.failed]
            writer.writerow([case.name, *(case.sizes.get(axis) for axis in sizes), *who, *figures, *more])
        return file.getvalue()

    def write(self, path: Path) -> None:
        """Write the JSON document."""
        write_synced(path, self.to_text())

    def to_text(self) -> str:
        """Return the JSON document as it is written."""
        return json.dumps(self.to_json(), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote; raise UsageError where nothing is, IntegrityError where something else is."""
        if not path.is_file():
            raise UsageError(f"no result in '{path}': pass the JSON file that `vitrify bench` wrote")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            schema = content.pop("schema")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise IntegrityError(
                f"'{path}' is not a result of `vitrify bench` ({error!r}): measure it again"
            ) from error
        if schema != SCHEMA:
            raise IntegrityError(f"'{path}' has schema {schema}, this vitrify reads schema {SCHEMA}: measure it again")
        kinds = {"cases": GridCase, "backends": BackendInfo, "rows": Row, "loads": Load}
        try:
            records = {name: tuple(_record(kind, item) for item in content[_key(name)]) for name, kind in kinds.items()}
            fields = {name: content[_key(name)] for name in (item.name for item in dataclasses.fields(cls))}
            return cls(**{**fields, **records})
        except (TypeError, KeyError, AttributeError) as error:
            raise IntegrityError(f"'{path}' is broken ({error!r}): measure it again") from error


def _key(name: str) -> str:
    return _KEYS.get(name, name)


def _keyed(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {_key(name): value for name, value in items}


def _record(kind: Any, content: Mapping[str, Any]) -> Any:
    values = {item.name: content[_key(item.name)] for item in dataclasses.fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
