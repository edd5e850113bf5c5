"""Exporting MiniLM from the command line: seconds, and peak memory over what the weights take."""

import shutil
import sys
from pathlib import Path

from .checkpoints import minilm
from .measure import processes, spread


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return seconds and peak MB of `vitrify export`, the gate included, and the weights' size."""
    out = scratch / "exported"
    command = [str(Path(sys.executable).with_name("vitrify")), "export", str(minilm()), "-o", str(out), "--force"]
    units = processes({"export": command}, rounds=rounds, warmup=0)["export"]
    weights = (minilm() / "model.safetensors").stat().st_size / 2**20
    shutil.rmtree(out)
    return {**{unit: spread(values) for unit, values in units.items()}, "weights_megabytes": weights}
