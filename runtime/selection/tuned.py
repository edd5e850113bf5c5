"""What was measured fastest on this machine: written by `vitrify tune`, read by `auto`; the bundle never changes.

A record lies in the user's cache, keyed by what it depends on: the bundle, the CPU and what of it is granted, versions.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...profiles import check_options
from ...version import __version__
from ..bundle.digests import cache_folder, cache_key, writing_cache
from ..bundle.files import replace_synced
from ..bundle.manifest import Bundle
from ..machine import Machine, installed_version

_SCHEMA = 1
_RUNS_WITH = ("onnxruntime", "onnxruntime-gpu", "openvino")


@dataclass(frozen=True)
class Tuned:
    """One configuration that passed the accuracy check here: a profile, threads, session config entries, and times.

    `milliseconds` are the medians of every case that was measured, `drift` is the largest difference from PyTorch over
    the outputs' largest magnitude, found here. `prepacked`: its graphs lie packed in the cache.
    """

    profile: str
    threads: int
    drift: float
    milliseconds: Mapping[str, float]
    entries: Mapping[str, str] = field(default_factory=dict)
    prepacked: bool = False

    def __post_init__(self) -> None:
        check_options(f"tuned {self.profile!r}", "cpu", self.entries)


def read_tuned(bundle: Bundle, machine: Machine) -> list[Tuned]:
    """Return the configurations measured for this bundle on this machine, the fastest first."""
    try:
        content = json.loads(tuned_path(bundle, machine).read_text(encoding="utf-8"))
        return [Tuned(**item) for item in content["ways"]] if content["schema"] == _SCHEMA else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_tuned(ways: Sequence[Tuned], bundle: Bundle, machine: Machine) -> Path:
    """Keep what was measured, the fastest first; raise EnvironmentMissing where the cache cannot be written."""
    path = tuned_path(bundle, machine)
    content = {"schema": _SCHEMA, "bundle": bundle.folder.resolve().name, "ways": list(map(dataclasses.asdict, ways))}
    with writing_cache(path.parent):
        replace_synced(path, json.dumps(content, indent=1) + "\n")
    return path


def tuned_path(bundle: Bundle, machine: Machine) -> Path:
    """Return where the record of a bundle on a machine lies."""
    versions = {name: installed_version(name) for name in _RUNS_WITH}
    granted = [machine.model_name, sorted(machine.cpu_features), machine.cores]
    return cache_folder("tuned") / f"{cache_key(bundle.digest, granted, __version__, versions)}.json"
