"""The table of backends: a profile's provider names the row whose module is imported when a session is opened."""

import contextlib
import importlib
import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..bundle.builders import BUILDERS
from ..errors import DependencyMissing, EnvironmentMissing, UsageError, install_hint
from ..graphs.files import files_beside
from ..machine import Machine
from .opening import Opening

if TYPE_CHECKING:
    from .base import Session


class Need(NamedTuple):
    """Packages of which a backend needs one, and the command that installs it."""

    packages: tuple[str, ...]
    install: str


class Backend(NamedTuple):
    """Where a backend is, what it needs, and on which device beside the CPU it runs.

    `opens_engines`: it opens a bundle's engines in place of its graphs. `packs`: it runs graphs with packed weights.
    """

    module: str
    opens: str
    needs: tuple[Need, ...]
    device: str | None = None
    opens_engines: bool = False
    packs: bool = False


_WHEELS = ("onnxruntime", "onnxruntime-gpu")
_NVIDIA = "an NVIDIA GPU"
_ANY = Need(_WHEELS, install_hint("cpu"))
_GPU = Need(("onnxruntime-gpu",), f"pip uninstall -y onnxruntime, then {install_hint('gpu')}")
_OPENVINO = Need(("openvino",), install_hint("openvino"))
_ENGINES = Need(
    tuple(name for row in BUILDERS.values() for name in reversed(row.distributions)),
    f"{install_hint('rtx')}; or the extra 'tensorrt', where a GPU builds",
)
_RTX = Need(
    tuple(f"onnxruntime-ep-nv-tensorrt-rtx-{cuda}" for cuda in ("cu13", "cu12")),
    "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13",
)
BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "cpu": Backend(".onnxruntime.cpu", "CpuSession", (_ANY,), packs=True),
        "openvino": Backend(".openvino", "OpenVinoSession", (_OPENVINO,)),
        "cuda": Backend(".onnxruntime.cuda", "CudaSession", (_GPU,), _NVIDIA),
        "tensorrt": Backend(".tensorrt.session", "EngineSession", (_ENGINES,), _NVIDIA, opens_engines=True),
        "onnxruntime-tensorrt": Backend(".onnxruntime.tensorrt", "OrtTensorRtSession", (_GPU,), _NVIDIA),
        "onnxruntime-tensorrt-rtx": Backend(
            ".onnxruntime.tensorrt_rtx", "OrtTensorRtRtxSession", (_ANY, _RTX), _NVIDIA
        ),
    }
)
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


def check_device(provider: str, machine: Machine) -> None:
    """Raise EnvironmentMissing where the machine lacks the device that `provider` runs on."""
    row = find_backend(provider)
    if row.device is not None and not machine.gpus:
        raise EnvironmentMissing(
            f"provider '{provider}' needs {row.device} with its driver, and this machine shows none; nothing falls back"
        )


def check_packages(provider: str, *, installed: Collection[str] | None = None) -> None:
    """Raise DependencyMissing where a package that `provider` needs is missing, UsageError where it is no row.

    ONNX Runtime's two wheels own the same files, so having both is an error too.
    """
    needs = find_backend(provider).needs
    names = installed_packages() if installed is None else installed
    if needs[0] in {_ANY, _GPU} and set(_WHEELS) <= set(names):
        raise EnvironmentMissing(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files: "
            f"pip uninstall -y onnxruntime onnxruntime-gpu, then {install_hint('cpu')}, or the extra 'gpu'"
        )
    for packages, install in needs:
        if not any(package in names for package in packages):
            raise DependencyMissing(f"provider '{provider}' needs {packages[0]}, which is not installed: {install}")


def find_backend(provider: str) -> Backend:
    """Return the row of a provider; raise UsageError where there is none."""
    if provider not in BACKENDS:
        raise UsageError(f"provider: got '{provider}', expected one of {', '.join(BACKENDS)}")
    return BACKENDS[provider]


def open_session(
    path: Path,
    *,
    provider: str,
    options: Mapping[str, Any] = _NO_OPTIONS,
    opening: Opening | None = None,
    installed: Collection[str] | None = None,
) -> "Session":
    """Load the graph at `path` on `provider`; nothing falls back to another.

    Parameters
    ----------
    path
        The `.onnx` file, its external data beside it; for "tensorrt" the `.engine` file, its sidecar beside it.
    provider
        A row of `BACKENDS`.
    options
        What a profile gives the provider.
    opening
        How it is opened; None is the default.
    installed
        The packages that are installed; None looks.

    Raises
    ------
    UsageError
        The provider or the number of threads cannot be right.
    IntegrityError
        The graph is missing, broken or truncated, or names files that it may not read.
    DependencyMissing, EnvironmentMissing
        A package, or what the provider needs of the machine, is missing.

    """
    opening = opening or Opening()
    check_device(provider, opening.machine)
    check_packages(provider, installed=installed)
    row = BACKENDS[provider]
    if not row.opens_engines:
        files_beside(path, packed=opening.packed)
    opens = getattr(importlib.import_module(row.module, __name__), row.opens)
    return opens(path, options=options, opening=opening)
