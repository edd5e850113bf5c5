"""What `vitrify doctor` prints: the machine, the installed packages, the extras that are missing.

Nothing is loaded for it but ONNX Runtime, which has to show that it starts.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.amounts import counted, size_text
from ...runtime.bundle.digests import cache_folder
from ...runtime.errors import EnvironmentMissing, VitrifyError, install_hint
from ...runtime.machine import FEATURES, Machine, this_machine
from ...version import __version__
from . import Description

DISTRIBUTION = "vitrify"
WHEELS = ("onnxruntime", "onnxruntime-gpu")
_REQUIREMENT = re.compile(r"""([\w.-]+).*extra == ['"]([\w-]+)['"]""")
_DEVELOPMENT = "test"
_OF_A_GPU = frozenset({"gpu", "tensorrt"})


def describe_machine(*, machine: Machine | None = None, installed: Mapping[str, str] | None = None) -> Description:
    """Say what this machine is, what is installed, and what is missing for what.

    Parameters
    ----------
    machine
        What the machine is; None looks.
    installed
        The versions of the installed packages by normalized name; None looks.

    """
    machine = machine or this_machine()
    versions = _installed() if installed is None else installed
    providers, problems = _providers(versions)
    document = {
        "vitrify": __version__,
        "python": sys.version.split()[0],
        "system": _system(),
        "cpu": {
            "model": machine.model_name,
            "features": [name for name in FEATURES if name in machine.cpu_features],
            "cores": machine.cores,
        },
        "memory_bytes": machine.memory_bytes,
        "gpus": machine.gpus,
        "extras": _extras(versions),
        "providers": providers,
        "cache": _cache(cache_folder()),
        "problems": problems,
    }
    return document, list(_machine_lines(document))


def require_working(document: Mapping[str, Any]) -> None:
    """Raise EnvironmentMissing if `describe_machine`'s document tells a problem that keeps every graph from running."""
    if document["problems"]:
        raise EnvironmentMissing("; ".join(document["problems"]))


def _system() -> str:
    import platform

    return platform.platform(terse=True) + f" {platform.machine()}"


def _installed() -> dict[str, str]:
    from importlib.metadata import distributions

    found: dict[str, str] = {}
    for distribution in distributions():
        if name := distribution.metadata["Name"]:
            found.setdefault(_normal(name), distribution.version)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _providers(versions: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return ONNX Runtime's execution providers, and what keeps it from starting."""
    from ...runtime.sessions import check_packages
    from ...runtime.sessions.telemetry import onnxruntime_module

    try:
        check_packages("cpu", installed=versions)
        onnxruntime = onnxruntime_module()
    except VitrifyError as error:
        return [], [str(error)]
    except (ImportError, OSError) as error:
        return [], [f"onnxruntime is installed but does not start ({' '.join(str(error).split())}): reinstall it"]
    return list(onnxruntime.get_available_providers()), []


def _extras(versions: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return, for each extra of vitrify, its packages' versions (None: missing) and what installs the missing ones."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        found = [match.groups() for line in requires(DISTRIBUTION) or () if (match := _REQUIREMENT.match(line))]
    except PackageNotFoundError:
        found = []  # run from a source tree that was never installed
    extras: dict[str, dict[str, Any]] = {}
    for package, extra in found:
        if extra != _DEVELOPMENT:
            row = extras.setdefault(extra, {"packages": {}, "install": None})
            row["packages"][package] = versions.get(_normal(package))
    for extra, row in extras.items():
        if None in row["packages"].values():
            row["install"] = _replacement(row["packages"], versions) + install_hint(extra)
    return extras


def _replacement(packages: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Return what has to go first: ONNX Runtime's wheels own the same files, so one takes the other's place."""
    others = [wheel for wheel in WHEELS if wheel in versions and wheel not in packages]
    return f"pip uninstall -y {others[0]} && " if others and not set(packages).isdisjoint(WHEELS) else ""


def _cache(folder: Path) -> dict[str, Any]:
    size = 0
    for root, _, names in os.walk(folder):
        size += sum(path.lstat().st_size for name in names if (path := Path(root, name)).exists())
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return {"folder": str(folder), "bytes": size, "writable": nearest.is_dir() and os.access(nearest, os.W_OK)}


def _state_of(extra: str, row: Mapping[str, Any], gpus: Sequence[str]) -> str:
    """Return what of an extra is installed, and how to install the rest where it is of use."""
    if row["install"] and extra in _OF_A_GPU and not gpus:
        return "not needed here (no NVIDIA GPU)"
    packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in row["packages"].items())
    return f"{packages}; install: {row['install']}" if row["install"] else packages


def _machine_lines(document: Mapping[str, Any]) -> Iterator[str]:
    cpu, cache = document["cpu"], document["cache"]
    yield f"vitrify {document['vitrify']}, Python {document['python']}, {document['system']}"
    none = "features unknown" if cpu["model"] == "unknown" else "no vector extensions"
    yield f"  cpu: {cpu['model']}, {counted(cpu['cores'], 'core')}, {', '.join(cpu['features']) or none}"
    yield f"  memory: {size_text(document['memory_bytes']) if document['memory_bytes'] else 'unknown'}"
    yield f"  gpus: {', '.join(document['gpus']) or 'none'}"
    yield f"  providers: {', '.join(document['providers']) or 'none'}"
    for extra, row in document["extras"].items():
        yield f"  extra {extra}: {_state_of(extra, row, document['gpus'])}"
    state = "" if cache["writable"] else ", not writable: set VITRIFY_CACHE to a writable folder"
    yield f"  cache: {cache['folder']}, {size_text(cache['bytes'])}{state}"
    yield from (f"  PROBLEM: {problem}" for problem in document["problems"])
