"""Engines: TensorRT's plans of a bundle's graphs, built and judged in child processes, on machines without a GPU too.

A builder is a row. Everything that a GPU-less machine can know of an engine is here; what one computes is for the
runtime on a GPU to verify.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from ...runtime.bundle.builders import BUILDERS as ROWS
from ...runtime.bundle.builders import Builder as Row
from ...runtime.bundle.engines import PORTABLE, Engine
from ...runtime.errors import DependencyMissing, UnsupportedError, UsageError, install_hint


@dataclass(frozen=True)
class Builder:
    """A release of TensorRT that builds engines.

    Attributes
    ----------
    name, row
        The user's word, and what the runtime knows by it.
    targets
        The compute capabilities that it builds for, with the module's name of each; `CURRENT` is the GPU that is
        present, which has none.

    """

    name: str
    row: Row
    targets: Mapping[str, str | None]

    @property
    def only_current(self) -> bool:
        """Whether it builds only for the GPU that is present."""
        return CURRENT in self.targets

    @property
    def version(self) -> str:
        """The installed release; raise DependencyMissing if there is none."""
        for name in self.row.distributions:
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        raise DependencyMissing(f"builder '{self.name}' is not installed: {install_hint(self.row.extra)}")


# What each compute capability is, for those who know their card and not its number.
CARDS: Mapping[str, str] = MappingProxyType(
    {
        "75": "Turing: T4, RTX 20",
        "80": "A100, A30",
        "86": "Ampere: A10, A40, RTX 30, RTX A-series",
        "89": "Ada: L4, L40, RTX 40",
        "90": "Hopper: H100, H200",
        "100": "Blackwell: B100, B200",
        "120": "Blackwell: RTX 50, RTX PRO 6000",
        "121": "Blackwell: GB10",
        PORTABLE: "every one from 8.0 on, compiled for the card when it is loaded",
    }
)
CURRENT = "current"
_SMS = ("75", "80", "86", "89", "120", "121")


_TARGETS: Mapping[str, Mapping[str, str | None]] = {
    "tensorrt-rtx": {PORTABLE: None, **{sm: f"SM{sm}" for sm in _SMS}},
    "tensorrt": {CURRENT: None},
}
BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {name: Builder(name, row, _TARGETS[name]) for name, row in ROWS.items()}
)
DEFAULT_BUILDER = "tensorrt-rtx"


def find_builder(name: str, sms: Sequence[str]) -> Builder:
    """Return the builder of this name; raise UsageError or UnsupportedError unless it builds for all of `sms`."""
    if name not in BUILDERS:
        raise UsageError(f"builder: got '{name}', expected one of {', '.join(BUILDERS)}")
    row = BUILDERS[name]
    for sm in sms:
        if sm in row.targets:
            continue
        if sm not in CARDS and sm != CURRENT:
            raise UsageError(f"sm: got '{sm}', expected one of {', '.join(row.targets)}")
        others = [other.name for other in BUILDERS.values() if other is not row]
        card = f" ({CARDS[sm]})" if sm in CARDS else ""
        raise UnsupportedError(
            f"{name} does not build for SM{sm}{card}, only for {', '.join(row.targets)}: use --builder {others[0]}"
            f"{', on a machine with that GPU, with --sm current' if name == DEFAULT_BUILDER else ''}"
        )
    return row


def build_request(engine: Engine) -> dict[str, Any]:
    """Return what the child process is asked for this engine, but for its graph and its files."""
    row = BUILDERS[engine.builder]
    return {
        "module": row.row.module,
        "target": row.targets.get(engine.sm),
        "stripped": engine.is_stripped,
        "shapes": list(engine.shapes.values()),
        "inputs": {tensor.name: tensor.dtype for tensor in engine.inputs},
        "outputs": {tensor.name: tensor.dtype for tensor in engine.outputs},
    }
