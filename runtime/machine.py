"""What this machine is: CPU features, cores by affinity and quota, memory, GPUs; it knows no profile and no backend.

Every file it reads is under `root` and every command goes through `ask`, so that a test can be any machine.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# Of x86's features: one of these, and products in bfloat16 or int8 are faster than in float32.
BF16 = frozenset({"amx_bf16", "avx512_bf16"})
INT8 = frozenset({"amx_int8", "avx512_vnni", "avx_vnni"})
# What decides how fast a profile runs; the rest of /proc/cpuinfo's flags says nothing here.
FEATURES = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("fp16", "dotprod", "i8mm", "bf16"),
)
_ROOT = Path("/")
# The kernel's names for ARM's features, by the names that profiles use; x86's are taken as they are.
_SPELLINGS = {"bf16": "bf16", "asimddp": "dotprod", "i8mm": "i8mm", "asimdhp": "fp16"}
_SYSCTL = {"FEAT_BF16": "bf16", "FEAT_DotProd": "dotprod", "FEAT_I8MM": "i8mm", "FEAT_FP16": "fp16"}
_UNLIMITED = 1 << 60  # cgroup v1 writes a number near 2**63 for "no limit"


@dataclass(frozen=True)
class Machine:
    """A machine as this process may use it: `cores` and `memory_bytes` are what is granted, not what is built in."""

    cpu_features: frozenset[str]
    cores: int
    memory_bytes: int
    model_name: str
    gpus: tuple[str, ...] = ()

    def has_any(self, feature_sets: Iterable[Iterable[str]]) -> bool:
        """Say whether the CPU has one of the sets of features in full, or none is asked for."""
        sets = [frozenset(features) for features in feature_sets]
        return not sets or any(features <= self.cpu_features for features in sets)


def ask_command(command: Sequence[str]) -> str:
    """Return a command's standard output, or nothing where it is missing, fails or takes more than 5 s."""
    import subprocess

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603 - fixed commands
    return ""


def this_machine(*, root: Path = _ROOT, ask: Callable[[Sequence[str]], str] = ask_command) -> Machine:
    """Describe the machine from Linux's files under `root`, or macOS's `sysctl`; what cannot be read is empty."""
    cpu = _fields(_read(root / "proc/cpuinfo"))
    apple = {} if cpu else _fields(ask(("sysctl", "machdep.cpu", "hw.optional", "hw.memsize")))
    return Machine(
        cpu_features=_features(cpu) or _apple_features(apple),
        cores=usable_cores(root=root),
        memory_bytes=_memory(root) or int(apple.get("hw.memsize", 0)),
        model_name=cpu.get("model name") or apple.get("machdep.cpu.brand_string") or "unknown",
        gpus=_gpus(root),
    )


def installed_version(package: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    from importlib.metadata import PackageNotFoundError, version  # takes 15 ms

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def usable_cores(*, root: Path = _ROOT, affinity: int | None = None) -> int:
    """Return how many cores this process may use: the smaller of its affinity and its cgroup's quota, rounded up."""
    allowed = affinity or _affinity()
    quotas = [quota for folder in _cgroups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(-(-quota[0] // quota[1]) for quota in quotas)]))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text()
    return ""


def _fields(text: str) -> dict[str, str]:
    """Return `key : value` lines; of processors that differ the first counts."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            fields.setdefault(key.strip(), value.strip())
    return fields


def _features(cpu: dict[str, str]) -> frozenset[str]:
    if "Features" in cpu:
        return frozenset(_SPELLINGS.get(flag, flag) for flag in cpu["Features"].split())
    maker = ["intel"] if cpu.get("vendor_id") == "GenuineIntel" else []
    return frozenset([*cpu.get("flags", "").split(), *maker])


def _apple_features(sysctl: dict[str, str]) -> frozenset[str]:
    return frozenset(name for feature, name in _SYSCTL.items() if sysctl.get(f"hw.optional.arm.{feature}") == "1")


def _cgroups(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's cgroup and of its parents that may limit `controller`, v2 and v1."""
    mount = root / "sys/fs/cgroup"
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = mount / controller if controllers else mount
        parts = Path(path.lstrip("/")).parts
        # In a container the path is the host's and may not exist: its root then stands for it.
        folders += [base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1) if ".." not in parts[:depth]]
    return folders


def _quota(folder: Path) -> tuple[int, int] | None:
    """Return the (quota, period) in microseconds that a cgroup sets, v2's `cpu.max` or v1's two files."""
    text = _read(folder / "cpu.max") or f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
    words = text.split()
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or words[1] == "0":
        return None  # "max", or -1
    return max(1, int(words[0])), int(words[1])


def _memory(root: Path) -> int:
    total = _fields(_read(root / "proc/meminfo")).get("MemTotal", "").split()
    limits = [int(total[0]) * 1024] if total and total[0].isdigit() else []
    for folder in _cgroups(root, "memory"):
        text = (_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes")).strip()
        if text.isdigit() and int(text) < _UNLIMITED:
            limits.append(int(text))
    return min(limits, default=0)


def _gpus(root: Path) -> tuple[str, ...]:
    """Return the names of NVIDIA's GPUs that have a driver."""
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    return tuple(_fields(_read(file)).get("Model", "NVIDIA GPU") for file in files)
