"""The table of contenders: what `--against` names, and the module that answers for it in a process of its own."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ...runtime.errors import UsageError


@dataclass(frozen=True)
class Contender:
    """A row: the module that loads it, which variant of it, and what that is in words."""

    name: str
    module: str
    variant: str
    precision: str
    shown: tuple[str, ...] = ()
    folder: Path | None = None

    def python(self) -> str:
        """Return the interpreter: this one."""
        return sys.executable


_TORCH = "vitrify.bench.contenders.pytorch"
OWN = Contender("vitrify", "vitrify.bench.contenders.bundle", "", "", ("onnxruntime",))
PEERS: Mapping[str, Contender] = MappingProxyType(
    {
        row.name: row
        for row in (
            Contender("torch", _TORCH, "float32", "fp32", ("torch", "transformers")),
            Contender("torch-bf16", _TORCH, "bfloat16", "bf16", ("torch", "transformers")),
            Contender("torch-compile", _TORCH, "float32 compiled", "fp32", ("torch", "transformers")),
            Contender("ort", "vitrify.bench.contenders.bare", "", "fp32", ("onnxruntime",)),
        )
    }
)


def find_peer(name: str) -> Contender:
    """Return the peer of this name; raise UsageError for a name that is none."""
    if name not in PEERS:
        raise UsageError(f"--against: got '{name}', expected one of {', '.join(PEERS)}")
    return PEERS[name]
