"""What an export gives with each profile: a row for each, also for one that is refused."""

import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vitrify import export_bundle
from vitrify.export.compiler import ExportReport
from vitrify.runtime.errors import ParityError, UnsupportedError

EXACT = "cpu-fp32"
Row = Mapping[str, Any]
# By profile and type, or type and head, why an export with it is refused.
REFUSED: Mapping[str, Mapping[str, str]] = tomllib.loads(Path(__file__).with_name("refused.toml").read_text())


def export_exactly(checkpoint: Path, folder: Path, *, task: str | None) -> ExportReport:
    return export_bundle(checkpoint, folder, task=task, profiles=EXACT)


def export_with_all(checkpoint: Path, folder: Path, *, task: str | None) -> tuple[ExportReport, list[Row]]:
    """Export with every profile that this machine runs and that is for the family; those left out again, one by one."""
    start = time.process_time()
    report = export_bundle(checkpoint, folder, task=task, profiles="auto")
    seconds, found = time.process_time() - start, dict(report.profiles)
    for name in report.left_out:
        found |= _alone(checkpoint, folder, name, task=task)
    return report, [{**_facts(report), "seconds": round(seconds, 1), **_row(name, found[name])} for name in found]


def _alone(checkpoint: Path, folder: Path, name: str, *, task: str | None) -> dict[str, Any]:
    """Return the summary of one profile, whatever its figures."""
    out = folder.with_name(f"only-{name}")
    try:
        return dict(export_bundle(checkpoint, out, task=task, profiles=name, allow_mismatch=True).profiles)
    except (ParityError, UnsupportedError) as error:
        return {name: {"passed": False, "reason": str(error)}}


def _facts(report: ExportReport) -> Row:
    bundle = report.bundle
    cache = "none" if bundle.family == "encoder" else "in place" if "in_place" in bundle.graphs else "growing"
    return {"head": bundle.head, "family": bundle.family, "cache": cache}


def _row(name: str, summary: Mapping[str, Any]) -> Row:
    worst = summary.get("worst") or {}
    quality = summary.get("quality")
    return {
        "profile": name,
        "passed": summary["passed"],
        **{key: worst.get(key) for key in ("difference", "limit", "agreement")},
        "drift": summary.get("drift"),
        "quality": quality and {key: quality[key] for key in ("agreement", "kl_mean")},
        "reason": summary.get("reason"),
    }


def assert_refused_as_listed(rows: Sequence[Row]) -> None:
    """Every profile is refused where `refused.toml` says so, and nowhere else."""
    wrong = [row for row in rows if row["passed"] == is_listed(row)]
    assert not wrong, wrong


def is_listed(row: Row) -> bool:
    listed = REFUSED.get(row["profile"], {})
    return row["type"] in listed or f"{row['type']} {row['head']}" in listed
