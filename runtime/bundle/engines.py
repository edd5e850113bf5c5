"""Engines on disk: the only reader and writer of the sidecars in `trt/`; it knows no builder and no GPU.

An engine is TensorRT's plan of one graph, for one profile, one compute capability and one version of its builder.
Beside `trt/NAME.engine` lies `trt/NAME.json`, which says all of that. An engine is refused before it is deserialized
unless it is what its sidecar says, and its sidecar belongs to the bundle's graph as it is now.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EnvironmentMissing, IntegrityError
from ..graphs.signature import Tensor
from ..json_files import brief, read_fields, read_object
from .builders import runs_portable
from .digests import value_digest
from .files import replace_synced
from .manifest import Bundle, add_files

FOLDER = "trt"
SUFFIX = ".engine"
PORTABLE = "portable"
NOT_RUN = "not run on a GPU"
# A flag: the engine holds no weights, and takes the graph's when it is opened.
STRIPPED = "stripped"
_SCHEMA = 1
_AGAIN = "build the engine again"
Shape = tuple[int, ...]
# For each input with a dynamic axis, its smallest, tuned and largest shape.
Shapes = Mapping[str, tuple[Shape, Shape, Shape]]


@dataclass(frozen=True)
class Engine:
    """What a sidecar says.

    Attributes
    ----------
    profile, graph
        Of the bundle.
    builder, version, sm
        What built it ("tensorrt-rtx" or "tensorrt"), which release, and for which compute capability: "89" or
        "portable".
    sources
        The sha256 of the graph's file and of its weights' file, by their names in the bundle.
    shapes
        For each set of ranges its name and the shapes, in the order of the engine's optimization profiles.
    flags
        What else decided how it was built.
    inputs, outputs
        Its tensors, with the dtypes the engine has.
    sha256
        Of the engine's own file.
    run_on
        The GPU that has verified it, or that none has.

    """

    profile: str
    graph: str
    builder: str
    version: str
    sm: str
    sources: Mapping[str, str]
    shapes: Mapping[str, Shapes]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    flags: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    run_on: str = NOT_RUN

    @property
    def name(self) -> str:
        """The engine's file name without its suffix: what it is for."""
        sm = self.sm if self.sm == PORTABLE else f"sm{self.sm}"
        return f"{self.graph}.{self.profile}.{sm}.{self.builder}-{self.version}"

    @property
    def file(self) -> str:
        """The engine's path in the bundle."""
        return f"{FOLDER}/{self.name}{SUFFIX}"

    @property
    def sidecar(self) -> str:
        """The path in the bundle of what says all of this."""
        return f"{FOLDER}/{self.name}.json"

    @property
    def key(self) -> str:
        """sha256 over everything that decides the engine's bytes: equal keys, equal engines."""
        content = dataclasses.asdict(dataclasses.replace(self, sha256="", run_on=NOT_RUN))
        return value_digest(content)

    @property
    def is_stripped(self) -> bool:
        """Whether it holds no weights."""
        return bool(self.flags.get(STRIPPED))

    def serves(self, sm: str, installed: Mapping[str, str]) -> bool:
        """Tell whether it runs on a GPU of this compute capability, with the TensorRT releases that are installed."""
        fits = sm == self.sm or (self.sm == PORTABLE and runs_portable(self.builder, sm))
        return fits and installed.get(self.builder) == self.version

    @property
    def rebuild(self) -> str:
        """The command that builds it anew."""
        sm = "current" if self.builder == "tensorrt" else self.sm
        stripped = " --stripped" if self.is_stripped else ""
        return f"vitrify build-engine BUNDLE --profile {self.profile} --builder {self.builder} --sm {sm}{stripped}"


def write_sidecar(engine: Engine, folder: Path) -> None:
    """Write the sidecar of an engine into a bundle's folder."""
    content = {"schema": _SCHEMA, "key": engine.key, **dataclasses.asdict(engine)}
    replace_synced(folder / engine.sidecar, json.dumps(content, indent=1) + "\n")


def record_run(bundle: Bundle, engines: Sequence[Engine], gpu: str) -> None:
    """Write into the sidecars of a bundle's engines which GPU verified them; raise OSError where it is read-only."""
    verified = [dataclasses.replace(engine, run_on=gpu) for engine in engines]
    for engine in verified:
        write_sidecar(engine, bundle.folder)
    add_files(bundle, [engine.sidecar for engine in verified])


def read_sidecar(path: Path) -> Engine:
    """Return the engine whose sidecar this is; raise IntegrityError if it is broken or of another schema."""
    try:
        content = read_object(path, strict=True, advice=_AGAIN)
    except FileNotFoundError as error:
        raise IntegrityError(f"'{path}' is missing: {_AGAIN}") from error
    schema, key = content.pop("schema", None), content.pop("key", None)
    if schema != _SCHEMA:
        raise IntegrityError(f"'{path}' has schema {brief(schema)}, this vitrify reads {_SCHEMA}: {_AGAIN}")
    engine = read_fields(Engine, content, path, advice=_AGAIN)
    if engine.key != key or engine.name != path.name.removesuffix(".json"):
        raise IntegrityError(f"'{path}' was changed (its key differs): {engine.rebuild}")
    return engine


def engines_of(bundle: Bundle, *, profile: str | None = None) -> list[Engine]:
    """Return the engines that a bundle lists, of one profile or of all; their files are not read."""
    names = [name for name in bundle.files if name.startswith(f"{FOLDER}/") and name.endswith(".json")]
    found = [read_sidecar(bundle.check(name)) for name in sorted(names)]
    return [engine for engine in found if profile in {None, engine.profile}]


def find_engine(
    bundle: Bundle, *, profile: str, graph: str, sm: str, installed: Mapping[str, str]
) -> tuple[Engine, Path]:
    """Return the engine that this machine runs, and its checked file.

    Parameters
    ----------
    bundle, profile, graph
        What it is an engine of.
    sm
        The GPU's compute capability, such as "89".
    installed
        The version of each TensorRT runtime that is installed, by its builder's name.

    Raises
    ------
    EnvironmentMissing
        No engine is for this profile, GPU and version; the message says what there is and how to build one.
    IntegrityError
        The engine or the graph that it was built from was changed.

    """
    built = [engine for engine in engines_of(bundle, profile=profile) if engine.graph == graph]
    right = [engine for engine in built if engine.serves(sm, installed)]
    if not right:
        there = "; ".join(f"{engine.sm} by {engine.builder} {engine.version}" for engine in built) or "none"
        have = ", ".join(f"{name} {version}" for name, version in installed.items()) or "none"
        raise EnvironmentMissing(
            f"no engine of graph '{graph}' for profile '{profile}' in bundle '{bundle.folder.name}' runs on SM{sm} "
            f"with what is installed ({have}); built: {there}. Build it: vitrify build-engine {bundle.folder} "
            f"--profile {profile} --sm {sm}"
        )
    engine = min(right, key=lambda engine: engine.sm == PORTABLE)
    check_sources(bundle, engine)
    path = bundle.check(engine.file)
    if bundle.files[engine.file] != engine.sha256:
        raise IntegrityError(f"'{path}' is not the engine that its sidecar describes: {engine.rebuild}")
    return engine, path


def check_sources(bundle: Bundle, engine: Engine) -> None:
    """Raise IntegrityError unless the engine was built from the bundle's graph as it is now."""
    now = graph_sources(bundle, engine.profile, engine.graph)
    if now != dict(engine.sources):
        raise IntegrityError(
            f"engine '{engine.file}' was built from another graph than '{', '.join(now)}' is now: {engine.rebuild}"
        )


def graph_sources(bundle: Bundle, profile: str, graph: str) -> dict[str, str]:
    """Return the sha256 of a graph's file and of its weights' file, as the manifest lists them."""
    return {name: bundle.files[name] for name in bundle.graph_files(profile, graph)}


def shapes_fit(shapes: Shapes, sizes: Mapping[str, Sequence[int]]) -> bool:
    """Tell whether inputs of these sizes lie within one set of ranges; inputs that are not ranged fit always."""
    return all(
        all(low <= size <= high for low, size, high in zip(shapes[name][0], given, shapes[name][2], strict=True))
        for name, given in sizes.items()
        if name in shapes
    )
