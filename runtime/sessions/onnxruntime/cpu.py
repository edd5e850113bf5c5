"""ONNX Runtime's own CPU kernels: every graph that vitrify makes runs here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...machine import Machine
from ..opening import Opening
from .base import OrtSession, session_options

# Asks for int8 products that cannot overflow. With VNNI none can, and there the exact kernels take 1.9 times as long
# (BERT-base at 8 x 128 on a Zen 4: 649 ms against 336).
_EXACT = "session.x64quantprecision"
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})
# What a profile does not say otherwise. The kernel of the fused norm adds and divides number by number, the two that it
# replaces by vectors: without it BERT-base and MiniLM in int8 at 8 x 128 are 1.15 and 1.23 times as fast on a Zen 4, in
# float32 1.03 and 1.00.
_DEFAULTS: Mapping[str, str] = {"optimization.disable_specified_optimizers": "SkipLayerNormFusion"}


class CpuSession(OrtSession):
    """A graph on `CPUExecutionProvider`; `options` are session config entries by their ONNX Runtime name."""

    def __init__(self, path: Path, *, options: Mapping[str, Any], opening: Opening) -> None:
        super().__init__(path, options=cpu_options(options, opening), providers=("CPUExecutionProvider",))


def cpu_options(entries: Mapping[str, Any], opening: Opening) -> Any:
    """Return SessionOptions with the config entries as they count here."""
    return session_options(opening, entries=cpu_entries(entries, opening.machine))


def cpu_entries(entries: Mapping[str, Any], machine: Machine) -> dict[str, Any]:
    """Return a profile's config entries, less those that this CPU does not need, beside our defaults."""
    exact = bool(_VNNI & machine.cpu_features)
    return {**_DEFAULTS, **{key: value for key, value in entries.items() if not (exact and key == _EXACT)}}
