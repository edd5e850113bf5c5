"""Exporting from the command line: seconds, and peak memory over what the weights take."""

import shutil
import sys
from pathlib import Path
from typing import Any

from vitrify.bench.percentiles import spread

from .checkpoints import minilm, smollm2
from .measure import processes

# What takes minutes is exported once or twice.
FEW = 2


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return seconds and peak MB of `vitrify export` to cpu-fp32, the gate included, and the weights' size."""
    return {
        "MiniLM": _exported(minilm(), scratch / "minilm", rounds=rounds),
        "SmolLM2-135M": _exported(smollm2(), scratch / "smollm2", rounds=min(rounds, FEW)),
    }


def _exported(checkpoint: Path, out: Path, *, rounds: int) -> dict[str, Any]:
    vitrify = str(Path(sys.executable).with_name("vitrify"))
    command = [vitrify, "export", str(checkpoint), "-o", str(out), "--force", "--profile", "cpu-fp32"]
    units = processes({"export": command}, rounds=rounds, warmup=0)["export"]
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 2**20
    shutil.rmtree(out)
    weights = (checkpoint / "model.safetensors").stat().st_size / 2**20
    found = {unit: spread(values) for unit, values in units.items()}
    return {**found, "weights_megabytes": weights, "bundle_megabytes": size}
