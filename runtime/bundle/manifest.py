"""The contract on disk: the only reader and writer of `bundle.json`; it knows nothing of torch, sessions or tasks.

A bundle is a folder. `bundle.json` names its head, its graphs with their axes, the profiles it was built for and the
sha256 of every file but itself, `reports/` and the model card, which users edit. No path in it leaves the folder, none
is a link.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ...profiles import Profile
from ..errors import IntegrityError, UsageError
from ..graphs.families import Family, find_family
from ..graphs.files import files_beside
from ..graphs.header import DTYPES
from ..graphs.heads import HEADS
from ..graphs.signature import Axis, Graph, View
from ..json_files import brief, read_fields, read_object
from ..tasks import TASKS
from .digests import SHA256, file_digest, remembered_digest
from .files import given_name, real_path, replace_synced

SCHEMA = 1
MANIFEST = "bundle.json"
REPORTS = "reports"
CARD = "README.md"
SOURCE_CARD = "source/README.md"  # the checkpoint's own
PARITY = "parity"
PARITY_REPORT = "parity.json"
_AGAIN = "export the bundle again"
_TASKS = frozenset(task.name for task in TASKS)
# What an axis may ask for at least: rows are padded to it. And what a fixed axis may be: arrays are made of it.
_LARGEST_MINIMUM, _LARGEST_SIZE = 2**16, 2**31 - 1


@dataclass(frozen=True)
class Provenance:
    """Where the weights came from: `files` maps each source file to its sha256."""

    id: str
    revision: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    pickle: bool = False
    remote_code: bool = False


@dataclass(frozen=True)
class Build:
    """What one profile runs: `graphs` maps a graph's name to its file in the bundle.

    `data` maps a graph to the file of its weights, where that is another graph's. `verified` says that its outputs kept
    the tolerance, `emulated` that they came from a CPU that rounded as the profile's device would, which was missing.
    """

    profile: Profile
    graphs: Mapping[str, str]
    verified: bool = True
    data: Mapping[str, str] = field(default_factory=dict)
    emulated: bool = False


@dataclass(frozen=True)
class Bundle:
    """The content of `bundle.json`; `folder` is where it was read and is not stored."""

    head: str
    tasks: tuple[str, ...]
    architecture: str
    model_type: str
    family: str
    source: Provenance
    axes: Mapping[str, Axis]
    graphs: Mapping[str, Graph]
    builds: Mapping[str, Build]
    tools: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    @classmethod
    def read(cls, folder: str | Path) -> "Bundle":
        """Read and check `bundle.json`; raise UsageError where there is none, IntegrityError where it is broken."""
        if not str(folder):
            raise UsageError("no bundle: the folder's name is empty")
        folder = Path(folder)
        path = folder / MANIFEST
        if not path.is_file():
            raise UsageError(_not_a_bundle(folder))
        content = read_object(path, strict=True, advice=_AGAIN)
        schema = content.pop("schema", None)
        if type(schema) is not int or schema != SCHEMA:
            raise IntegrityError(
                f"bundle '{folder}' has schema {brief(schema)}, this vitrify reads schema {SCHEMA}: export it again, "
                "or install the vitrify that made it"
            )
        bundle = dataclasses.replace(read_fields(Bundle, content, path, advice=_AGAIN), folder=folder)
        _check_parts(bundle, path)
        for name in bundle.files:
            bundle.path(name)
        return bundle

    def profile(self, name: str) -> Profile:
        """Return one of the profiles that it was built for; raise UsageError, naming those, for another."""
        if name not in self.builds:
            raise UsageError(
                f"no profile '{name}' in bundle '{given_name(self.folder)}' (built: {', '.join(self.builds)}). "
                f"Build it: vitrify export MODEL --profile {name}"
            )
        return self.builds[name].profile

    def path(self, name: str) -> Path:
        """Return the path of one of the bundle's files, as `real_path` does."""
        return real_path(self.folder, name)

    def check(self, name: str, *, always: bool = False) -> Path:
        """Return the path of a listed file whose sha256 is right; computed anew if `always`, else once a machine."""
        path = self.path(name)
        if name not in self.files:
            raise self._unlisted(name)
        digest = file_digest(path) if always else remembered_digest(path)
        if digest != self.files[name]:
            raise IntegrityError(f"'{path}' was changed since the export (sha256 differs): export or copy it again")
        return path

    def _unlisted(self, name: str) -> IntegrityError:
        path = self.folder / name
        return IntegrityError(f"'{path}' is not listed in {MANIFEST}: the bundle was changed, export it again")

    @property
    def topology(self) -> Family:
        """The row of its family."""
        return find_family(self.family)

    @property
    def is_verified(self) -> bool:
        """Whether an export compared it with PyTorch and listed digests; an ONNX folder of another tool has neither."""
        return True

    def view(self, profile: str, graph: str, raw: Graph) -> View | None:  # noqa: ARG002 - for ONNX folders
        """Return how the runtime sees a graph whose own signature is `raw`, None where as it is: bundles' own are."""
        return None

    def default_profile(self) -> str:
        """Return the profile that runs where none is named."""
        return "cpu-fp32" if "cpu-fp32" in self.builds else next(iter(self.builds))

    def graph_files(self, profile: str, graph: str) -> list[str]:
        """Return the graph's file for `profile` and those that it reads, relative to the folder.

        Raises IntegrityError for one that is not listed, and what `files_beside` raises.
        """
        file = self.builds[profile].graphs[graph]
        beside = PurePosixPath(file).parent
        names = [file, *((beside / name).as_posix() for name in files_beside(self.path(file)))]
        for name in names:
            if name not in self.files:
                raise self._unlisted(name)
        return names

    def parity_report(self) -> Mapping[str, Any]:
        """Return what the export measured of each profile; empty where `reports/` did not travel along."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            report = json.loads((self.folder / REPORTS / PARITY_REPORT).read_text(encoding="utf-8"))
            return report if isinstance(report, dict) else {}
        return {}

    def recorded_drift(self) -> dict[str, float]:
        """Return each profile's drift as the export measured it."""
        try:
            return {name: float(item["drift"]) for name, item in self.parity_report().items()}
        except (ValueError, KeyError, TypeError):
            return {}

    @property
    def digest(self) -> str:
        """The sha256 of `bundle.json`, and so of everything that the bundle stands for."""
        return file_digest(self.folder / MANIFEST)


def _not_a_bundle(folder: Path) -> str:
    if folder.exists() and not folder.is_dir():
        return f"'{folder}' is a file, not a bundle's folder"
    return f"no bundle in '{folder}': it has no {MANIFEST}. Make one: vitrify export MODEL -o {folder}"


def write_manifest(bundle: Bundle, folder: Path) -> Bundle:
    """Digest every file in `folder`, write `bundle.json` and return the bundle as it will be read."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in {MANIFEST, REPORTS, CARD}
    )
    return add_files(dataclasses.replace(bundle, files={}, folder=folder), names)


def add_files(bundle: Bundle, names: Iterable[str]) -> Bundle:
    """Digest these files of a bundle's folder, and replace its `bundle.json` by one that lists them too."""
    files = {**bundle.files, **{name: file_digest(bundle.folder / name) for name in names}}
    bundle = dataclasses.replace(bundle, files=dict(sorted(files.items())))
    content = {"schema": SCHEMA, **_to_json(bundle)}
    del content["folder"]
    replace_synced(bundle.folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return bundle


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {item.name: _to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_to_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _check_parts(bundle: Bundle, path: Path) -> None:
    """Raise IntegrityError for a manifest whose fields are of the right types and do not fit each other."""
    for wrong in _misfits(bundle):
        raise IntegrityError(f"'{path}' is broken: {wrong}: {_AGAIN}")


def _misfits(bundle: Bundle) -> Iterator[str]:
    if bundle.head not in HEADS or HEADS[bundle.head].family != bundle.family:
        yield f"head is {bundle.head!r:.60}, expected one of the family {bundle.family!r:.60}"
    yield from (f"tasks contains {name!r:.60}, which no task is called" for name in set(bundle.tasks) - _TASKS)
    for place, files in (("files", bundle.files), ("source.files", bundle.source.files)):
        yield from (
            f"{place}.{name:.80} is {digest!r:.60}, expected a sha256"
            for name, digest in files.items()
            if not SHA256.fullmatch(digest)
        )
    for name, axis in bundle.axes.items():
        if (
            not 0
            <= axis.minimum
            <= min(_LARGEST_MINIMUM, axis.maximum if axis.maximum is not None else _LARGEST_MINIMUM)
        ):
            yield f"axes.{name:.80} is {axis.minimum} to {axis.maximum}, expected from 0 to {_LARGEST_MINIMUM} at least"
    for name, graph in bundle.graphs.items():
        yield from _graph_misfits(f"graphs.{name:.80}", graph)
    if not bundle.builds:
        yield "builds is empty"
    for name, build in bundle.builds.items():
        yield from _build_misfits(f"builds.{name:.80}", name, build, bundle)


def _graph_misfits(at: str, graph: Graph) -> Iterator[str]:
    for side, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        for index, tensor in enumerate(tensors):
            here = f"{at}.{side}[{index}]"
            if tensor.dtype not in DTYPES:
                yield f"{here}.dtype is {tensor.dtype!r:.60}, expected one of {', '.join(sorted(DTYPES))}"
            if any(isinstance(axis, int) and not 0 <= axis <= _LARGEST_SIZE for axis in tensor.axes):
                yield f"{here}.axes is {brief(tensor.axes)}, expected sizes from 0 to {_LARGEST_SIZE}"


def _build_misfits(at: str, name: str, build: Build, bundle: Bundle) -> Iterator[str]:
    if build.profile.name != name:
        yield f"{at}.profile.name is {build.profile.name!r:.60}, expected {name!r:.60}"
    if unknown := sorted(set(build.graphs) - set(bundle.graphs)):
        yield f"{at}.graphs has {unknown[0]!r:.60}, which 'graphs' does not describe"
    if not bundle.topology.sets_among(build.graphs):
        yield f"{at}.graphs has {', '.join(build.graphs) or 'none'}, which do not make a {bundle.family}"
