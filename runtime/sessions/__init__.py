"""The table of backends: a profile's provider names the row whose module is imported when a session is opened."""

import contextlib
import importlib
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import DependencyMissing, EnvironmentMissing, UsageError
from ..machine import Machine, this_machine

if TYPE_CHECKING:
    from .base import Session


class Backend(NamedTuple):
    """Where a backend is, and which `package` it needs from which extra of vitrify beside ONNX Runtime."""

    module: str
    opens: str
    package: str | None = None
    extra: str | None = None


BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "cpu": Backend(".onnxruntime_cpu", "CpuSession"),
        "openvino": Backend(".openvino", "OpenVinoSession", "onnxruntime-ep-openvino", "openvino"),
        "cuda": Backend(".cuda", "refuse_cuda"),
    }
)
_WHEELS = ("onnxruntime", "onnxruntime-gpu")
_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def installed_packages() -> frozenset[str]:
    """Return the distributions that Python's path holds, by normalized name: one listing of each folder.

    `importlib.metadata` says the same and takes 15 ms to import.
    """
    names = set()
    for folder in sys.path:
        with contextlib.suppress(OSError):
            names |= {
                name.partition("-")[0].replace("_", "-").lower()
                for name in os.listdir(folder or ".")  # noqa: PTH208 - four times as fast as Path.iterdir
                if name.endswith(".dist-info")
            }
    return frozenset(names)


def check_packages(provider: str, *, installed: Collection[str] | None = None) -> None:
    """Raise unless `provider` is a row, one of ONNX Runtime's wheels is there, and so is what the row needs.

    Both wheels own the same files, so having both is an error too.
    """
    if provider not in BACKENDS:
        raise UsageError(f"provider: got '{provider}', expected one of {', '.join(BACKENDS)}")
    names = installed_packages() if installed is None else installed
    found = [wheel for wheel in _WHEELS if wheel in names]
    if not found:
        raise DependencyMissing("onnxruntime is not installed: pip install 'vitrify[cpu]'")
    if len(found) > 1:
        raise EnvironmentMissing(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'vitrify[cpu]' or 'vitrify[gpu]'"
        )
    row = BACKENDS[provider]
    if row.package is not None and row.package not in names:
        raise DependencyMissing(
            f"provider '{provider}' needs {row.package}, which is not installed: pip install 'vitrify[{row.extra}]'"
        )


def open_session(
    path: Path,
    *,
    provider: str,
    options: Mapping[str, Any] = _NO_OPTIONS,
    threads: int | None = None,
    machine: Machine | None = None,
    installed: Collection[str] | None = None,
) -> "Session":
    """Load the graph at `path` on `provider` ("cpu", "openvino", "cuda"); nothing falls back to another.

    Parameters
    ----------
    path
        The `.onnx` file; its external data lies beside it.
    provider
        A row of `BACKENDS`.
    options
        What a profile gives the provider.
    threads
        Threads within a node; None uses the cores that this process may use.
    machine
        What the CPU can do; None looks.
    installed
        The packages that are installed; None looks.

    Raises
    ------
    UsageError
        The provider or the number of threads cannot be right.
    IntegrityError
        The graph is missing, broken or truncated.
    DependencyMissing, EnvironmentMissing
        A package, or what the provider needs of the machine, is missing.

    """
    check_packages(provider, installed=installed)
    row = BACKENDS[provider]
    opens = getattr(importlib.import_module(row.module, __name__), row.opens)
    return opens(path, options=options, threads=threads, machine=machine or this_machine())
