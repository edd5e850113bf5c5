"""The GPU that this process sees, and the engines of a bundle that run on it."""

import importlib
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from ..bundle.builders import BUILDERS
from ..bundle.engines import find_engine, record_run
from ..bundle.manifest import Bundle
from ..machine import Machine, this_machine
from ..sessions import check_device
from ..sessions.tensorrt.driver import CudaDriver, Driver


def capability(driver: Callable[[], Driver] = CudaDriver) -> str:
    """Return the compute capability of the GPU, such as "89"; raise EnvironmentMissing without one."""
    with closing(driver()) as gpu:
        return gpu.capability


def installed_releases(load: Callable[[str], Any] = importlib.import_module) -> dict[str, str]:
    """Return the release of each TensorRT that can be loaded, by its builder's name."""
    found = {}
    for name, row in BUILDERS.items():
        try:
            found[name] = str(load(row.module).__version__)
        except (ImportError, OSError):
            continue
    return found


def engine_path(
    bundle: Bundle,
    *,
    profile: str,
    graph: str,
    machine: Machine | None = None,
    driver: Callable[[], Driver] = CudaDriver,
    load: Callable[[str], Any] = importlib.import_module,
) -> Path:
    """Return the file of the engine that runs a bundle's graph here.

    Raises EnvironmentMissing without a GPU, and whatever `find_engine` raises.
    """
    check_device("tensorrt", machine or this_machine())
    _, path = find_engine(
        bundle, profile=profile, graph=graph, sm=capability(driver), installed=installed_releases(load)
    )
    return path


def record_verified(
    bundle: Bundle,
    profiles: Collection[str],
    *,
    driver: Callable[[], Driver] = CudaDriver,
    load: Callable[[str], Any] = importlib.import_module,
) -> None:
    """Write into the sidecars of the engines that run profiles here that this GPU has verified them.

    Raises OSError where the bundle cannot be written.
    """
    with closing(driver()) as gpu:
        name, sm = gpu.name, gpu.capability
    installed = installed_releases(load)
    record_run(
        bundle,
        [
            find_engine(bundle, profile=profile, graph=graph, sm=sm, installed=installed)[0]
            for profile in profiles
            for graph in bundle.builds[profile].graphs
        ],
        name,
    )
