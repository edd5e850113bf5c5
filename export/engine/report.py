"""What a build tells without a GPU: built or why not, what was fused, in which types, how large."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.amounts import counted

# Operators that tensorrt-rtx lacks and standard TensorRT has: a refusal for them says nothing of the latter.
_MISSING_IN_RTX = frozenset({"NonZero", "RoiAlign", "NonMaxSuppression"})
_MB = 1e6
# What `--fail-if` may name.
MEASURES = (
    *("built", "fused", "half_share", "kernels", "engine_mb", "activation_mb", "peak_mb", "build_seconds"),
    "reproducible",
)


@dataclass(frozen=True)
class Report:
    """One attempt to build one engine.

    Attributes
    ----------
    graph, profile, sm, builder
        What was attempted.
    stage
        "done", or where it ended: parse, ranges, build, time, memory, killed, crash.
    reasons
        Why it ended: `why`, and where it is known the `node` and its `operator`.
    attention
        How many attention layers the graph has.
    sets
        How many sets of ranges it is built for.
    figures
        What the builder measured, by name.
    reproducible
        Whether a second build gave the same bytes; None if there was none.

    """

    graph: str
    profile: str
    sm: str
    builder: str
    stage: str
    reasons: Sequence[Mapping[str, str]]
    attention: int
    sets: int
    figures: Mapping[str, Any]
    reproducible: bool | None = None

    @property
    def built(self) -> bool:
        """Whether there is an engine."""
        return self.stage == "done"

    @property
    def only_rtx(self) -> bool:
        """Whether it is only tensorrt-rtx that refuses: standard TensorRT has what it lacks."""
        return (
            not self.built
            and self.builder == "tensorrt-rtx"
            and any(reason.get("operator") in _MISSING_IN_RTX for reason in self.reasons)
        )

    @property
    def measures(self) -> dict[str, float]:
        """The numbers that `--fail-if` may name, those of MEASURES."""
        fused = self.figures.get("fused_attention", 0)
        return {
            "built": float(self.built),
            "fused": fused / self.attention if self.attention else 1.0,
            "half_share": self.figures.get("half_share", 0.0),
            "kernels": self.figures.get("kernels", 0),
            "engine_mb": self.figures.get("bytes", 0) / _MB,
            "activation_mb": self.figures.get("activation_bytes", 0) / _MB,
            "peak_mb": self.figures.get("peak_bytes", 0) / _MB,
            "build_seconds": self.figures.get("build_seconds", 0.0),
            "reproducible": float(self.reproducible is not False),
        }

    @property
    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        told = {
            name: getattr(self, name) for name in ("graph", "profile", "sm", "builder", "stage", "attention", "sets")
        }
        return {
            **told,
            "built": self.built,
            "only_rtx": self.only_rtx,
            "reasons": list(self.reasons),
            "reproducible": self.reproducible,
            **self.figures,
        }

    @property
    def why(self) -> str:
        """The reasons in one line."""
        words = "; ".join(
            f"node '{reason['node']}' ({reason['operator']}): {reason['why']}" if reason.get("node") else reason["why"]
            for reason in self.reasons
        )
        return f"{words} (standard TensorRT has it: --builder tensorrt)" if self.only_rtx else words

    def __str__(self) -> str:
        head = f"{self.graph}, {self.profile}, {self.sm if self.sm.isalpha() else f'SM{self.sm}'}"
        if not self.built:
            return f"{head}: NOT built ({self.stage}): {self.why}"
        found = self.measures
        twice = {None: "", True: ", two builds are identical", False: ", two builds DIFFER"}[self.reproducible]
        return (
            f"{head}: {found['engine_mb']:.1f} MB in {found['build_seconds']:.1f} s, attention fused "
            f"{self.figures['fused_attention']} of {self.attention}, {found['half_share']:.0%} fp16, "
            f"{self.figures['kernels']} kernels, {found['activation_mb']:.1f} MB of activations{twice}"
        )


def describe_reports(bundle: Path, reports: Sequence[Report], *, done: str) -> tuple[dict[str, Any], list[str]]:
    """Return what a command says of its reports, as a document and as lines; `done` is what it did."""
    document = {"bundle": str(bundle), "engines": [report.document for report in reports]}
    count = counted(len(reports), "engine")
    return document, [f"{bundle}: {count} {done}", *(f"  {report}" for report in reports)]
