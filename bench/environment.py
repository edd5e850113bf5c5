"""What a figure depends on: the machine, how it stands, and the versions of what ran."""

import os
import platform
from contextlib import suppress
from pathlib import Path

from ..runtime.machine import FEATURES, installed_version, this_machine

PACKAGES = (
    "vitrify",
    "onnxruntime",
    "openvino",
    "torch",
    "transformers",
    "numpy",
    "tokenizers",
    "tensorrt-rtx",
)
_ROOT = Path("/")


def fingerprint() -> dict[str, object]:
    """Describe the machine and the versions."""
    machine = this_machine()
    return {
        "cpu": machine.model_name,
        "features": [name for name in FEATURES if name in machine.cpu_features],
        "cores": machine.cores,
        "memory_gb": round(machine.memory_bytes / 2**30),
        "python": platform.python_version(),
        "system": platform.system(),
        "packages": {name: found.split("+")[0] for name in PACKAGES if (found := installed_version(name))},
    }


def condition(*, root: Path = _ROOT) -> dict[str, object]:
    """Describe how the machine stands at this moment: clocks, who sets them, load; what cannot be read is left out."""
    found: dict[str, object] = {}
    lines = _read(root / "proc/cpuinfo").splitlines()
    if clocks := [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]:
        found["mhz"] = [round(clock) for clock in clocks]
    if governor := _read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip():
        found["governor"] = governor
    with suppress(OSError):
        found["load"] = round(os.getloadavg()[0], 2)
    return found


def _read(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text()
    return ""
