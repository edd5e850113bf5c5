"""What a figure depends on: the machine, how it stands, and the versions of what ran."""

import os
import platform
import re
from contextlib import suppress
from datetime import UTC, datetime
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
_CONTAINERS = (".dockerenv", "run/.containerenv")


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


def occasion(*, root: Path = _ROOT) -> dict[str, str]:
    """Say when this is, and whether the machine is a container or a virtual one, where Linux tells."""
    now = {"measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    cpu = _read(root / "proc/cpuinfo")
    if not cpu:
        return now
    kinds = {
        "container": any((root / name).exists() for name in _CONTAINERS) or _has_container_groups(root),
        "virtual machine": bool(re.search(r"^flags\s*:.*\bhypervisor\b", cpu, re.MULTILINE)),
    }
    found = [name for name, is_there in kinds.items() if is_there]
    return {**now, "host": " in a ".join(found) or "no container or virtual machine found"}


def _has_container_groups(root: Path) -> bool:
    groups = _read(root / "proc/1/cgroup") + _read(root / "proc/self/cgroup")
    return any(name in groups for name in ("docker", "kubepods", "containerd", "libpod", "lxc"))


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
