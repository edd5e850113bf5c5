"""The table of backends: what `--against` names, and the module that answers for it in a process of its own."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ...runtime.errors import UsageError


@dataclass(frozen=True)
class Installed:
    """A program in this interpreter: the module that loads it, which variant of it, and its precision in words."""

    name: str
    module: str
    variant: str
    precision: str
    shown: tuple[str, ...] = ()
    folder: Path | None = None

    def python(self) -> str:
        """Return the interpreter: this one."""
        return sys.executable


_TORCH = "vitrify.bench.backends.pytorch"
OWN = "vitrify"
_OWN = Installed(OWN, "vitrify.bench.backends.bundle", "", "", ("onnxruntime",))
# Counts what a bundle computes; it is measured nowhere.
COUNTER = Installed("counter", "vitrify.bench.backends.flops", "", "")
BASELINES: Mapping[str, Installed] = MappingProxyType(
    {
        row.name: row
        for row in (
            Installed("torch", _TORCH, "float32", "fp32", ("torch", "transformers")),
            Installed("torch-bf16", _TORCH, "bfloat16", "bf16", ("torch", "transformers")),
            Installed("torch-compile", _TORCH, "float32 compiled", "fp32", ("torch", "transformers")),
            Installed("ort", "vitrify.bench.backends.bare", "", "fp32", ("onnxruntime",)),
        )
    }
)


def own_backend(
    profile: str, entries: Iterable[tuple[str, str]] = (), *, prepacked: bool = False, precision: str = ""
) -> Installed:
    """Return vitrify's own: a profile, with session config entries over its own, and its graphs prepacked or not."""
    return replace(_OWN, variant=json.dumps([profile, dict(entries), prepacked]), precision=precision)


def read_variant(variant: str) -> tuple[str, dict[str, str], bool]:
    """Return the profile, the entries and whether prepacked of an own backend's variant."""
    profile, entries, prepacked = json.loads(variant)
    return profile, entries, prepacked


def find_baseline(name: str) -> Installed:
    """Return the baseline of this name; raise UsageError for an unknown one."""
    if name not in BASELINES:
        raise UsageError(f"--against: got '{name}', expected one of {', '.join(BASELINES)}")
    return BASELINES[name]
