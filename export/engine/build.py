"""`build_engines` and `check_engines`: the engines of a bundle's profile, added to it or only judged."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...profiles import Profile, ProfileError, Range
from ...runtime.amounts import counted
from ...runtime.bundle.engines import FOLDER, PORTABLE, STRIPPED, Engine, engines_of, graph_sources, write_sidecar
from ...runtime.bundle.files import given_name, write_synced
from ...runtime.bundle.manifest import REPORTS, Bundle, add_files
from ...runtime.child import Limits
from ...runtime.errors import EnvironmentMissing, ExportError, UsageError
from ...runtime.machine import this_machine
from ...runtime.selection.engines import capability
from ...runtime.verification.conditions import Condition
from ..saving import read_tensors
from . import BUILDERS, CURRENT, DEFAULT_BUILDER, Builder, build_request, find_builder
from .ep_context import write_ep_context
from .lint import attention_layers, check_graph
from .process import run_build
from .ranges import engine_shapes, override
from .report import Report

ENGINES_REPORT = "engines.json"
_FLAGS = {"strongly_typed": True, "profiling_verbosity": "detailed"}
_LIMITS = Limits(seconds=1800.0)
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What to build: for which compute capabilities, by which builder, with which ranges in place of the profile's.

    `stripped` engines hold no weights.
    """

    sms: Sequence[str] = ()
    builder: str = DEFAULT_BUILDER
    shapes: Mapping[str, Range] = field(default_factory=dict)
    stripped: bool = False
    limits: Limits = _LIMITS

    def check(self) -> Builder:
        """Return the builder, which is installed and builds for these.

        Raises what `find_builder` raises otherwise, EnvironmentMissing for stripped engines where there is no GPU.
        """
        row = find_builder(self.builder, self.sms)
        assert row.version  # raises where none is installed
        if self.stripped and not this_machine().gpus:
            raise EnvironmentMissing(
                "--stripped: TensorRT leaves weights out only where NVIDIA's driver is, and this machine shows no GPU: "
                "build there, or build whole engines"
            )
        return row

    @property
    def targets(self) -> Sequence[str]:
        """The compute capabilities, by default every one that the builder serves with one engine."""
        return self.sms or ((PORTABLE,) if PORTABLE in BUILDERS[self.builder].targets else (CURRENT,))


def build_engines(
    folder: str | Path,
    profiles: Sequence[str] | None,
    order: Order,
    *,
    force: bool = False,
    ep_context: bool = False,
    progress: Progress = lambda _: None,
) -> list[Report]:
    """Build the engines of a bundle's profiles and add them, with their sidecars, to the bundle.

    `profiles` None stands for all that have engines. An engine that is there already, with the same key, is not built
    again unless `force`. `ep_context` also writes an ONNX graph around each, for ONNX Runtime's plugin provider.

    Raises
    ------
    UsageError, UnsupportedError, DependencyMissing
        A profile, its ranges, a graph or the builder will not do; nothing was built.
    ExportError
        An engine was not built, with the builder's reason; engines that were stay.

    """
    reports = []
    there = {engine.key: engine for engine in engines_of(Bundle.read(folder))}
    for engine in plan_engines(folder, profiles, order):
        if engine.key in there and not force:
            progress(f"{engine.file} is built already")
            if ep_context:
                _add_ep_context(Path(folder), there[engine.key])
            continue
        progress(f"building {engine.file}")
        with tempfile.TemporaryDirectory(prefix=".trt.", dir=folder) as scratch:
            report = _attempt(Path(folder), engine, Path(scratch, "engine"), order)
            if not report.built:
                raise ExportError(f"engine '{engine.name}' was not built ({report.stage}): {report.why}")
            _add(Path(folder), engine, Path(scratch, "engine"), report, ep_context=ep_context)
        reports.append(report)
    return reports


def check_engines(
    folder: str | Path,
    profiles: Sequence[str] | None,
    order: Order,
    *,
    twice: bool = True,
    progress: Progress = lambda _: None,
) -> list[Report]:
    """Build the engines of a bundle's profiles, keep none, and report on each; `twice` compares two builds' bytes.

    Raises what `build_engines` raises before anything is built.
    """
    reports = []
    for engine in plan_engines(folder, profiles, order):
        progress(f"building {engine.name}")
        with tempfile.TemporaryDirectory(prefix="vitrify-") as scratch:
            report = _attempt(Path(folder), engine, Path(scratch, "engine"), order)
            if report.built and twice:
                again = _built(Path(folder), engine, Path(scratch, "again"), order)
                same = again.get("sha256") == report.figures["sha256"]
                report = dataclasses.replace(report, reproducible=same)
        reports.append(report)
    return reports


def require_built(reports: Sequence[Report], conditions: Sequence[Condition] = ()) -> None:
    """Raise ExportError naming each engine that was not built or of whose numbers a condition holds."""
    failed = [f"{report.graph} for {report.sm}: {report.why}" for report in reports if not report.built]
    failed += [
        f"{report.graph} for {report.sm}: {condition} ({condition.name} is {report.measures[condition.name]:g})"
        for report in reports
        for condition in conditions
        if condition.holds(report.measures) and report.built
    ]
    if failed:
        raise ExportError(f"{len(failed)} of {counted(len(reports), 'engine')} failed: {'; '.join(failed)}")


def read_order(
    *,
    sm: str | None,
    builder: str | None,
    shapes: Sequence[str],
    timeout: float,
    memory_gb: float | None,
    stripped: bool = False,
) -> Order:
    """Return the order that words of the command line say; raise UsageError for words that say none."""
    if not (timeout > 0 and (memory_gb is None or 0 < memory_gb < float("inf"))):
        memory = "no limit" if memory_gb is None else f"{memory_gb:g}"
        raise UsageError(f"--timeout and --memory: got {timeout:g} and {memory}, expected numbers above 0")
    ranges = {}
    for text in shapes:
        axis, _, sizes = text.partition("=")
        try:
            ranges[axis] = Range.read(sizes)
        except ProfileError as error:
            raise UsageError(f"--shapes '{text}': {error}") from error
    limits = Limits(timeout, None if memory_gb is None else int(memory_gb * 1e9))
    order = Order(tuple(sm.split(",")) if sm else (), builder or DEFAULT_BUILDER, ranges, stripped, limits)
    find_builder(order.builder, order.sms)
    return order


def plan_engines(folder: str | Path, profiles: Sequence[str] | None, order: Order) -> list[Engine]:
    """Return the engines that an order asks for, not built yet: everything that can be refused is refused here."""
    bundle, row = Bundle.read(folder), order.check()
    planned = [
        engine
        for profile in profiles or _with_engines(bundle)
        for engine in _planned(bundle, override(_engine_profile(bundle, profile), order.shapes), row, order)
    ]
    axes = {axis for engine in planned for tensor in engine.inputs for axis in tensor.axes if isinstance(axis, str)}
    if unknown := sorted(set(order.shapes) - axes):
        raise UsageError(f"--shapes: no graph has the axis '{unknown[0]}' (axes: {', '.join(sorted(axes))})")
    return planned


def _with_engines(bundle: Bundle) -> list[str]:
    names = [name for name, build in bundle.builds.items() if build.profile.provider == "tensorrt"]
    if not names:
        raise UsageError(
            f"bundle '{given_name(bundle.folder)}' has no profile for engines (built: {', '.join(bundle.builds)}): "
            "vitrify export MODEL --profile trt-fp16-latency"
        )
    return names


def _engine_profile(bundle: Bundle, name: str) -> Profile:
    profile = bundle.profile(name)
    if profile.provider != "tensorrt":
        raise UsageError(
            f"profile '{name}' runs on '{profile.provider}', which does not use engines: export with a profile "
            "of provider tensorrt, such as trt-fp16-latency"
        )
    return profile


def _planned(bundle: Bundle, profile: Profile, row: Builder, order: Order) -> Iterator[Engine]:
    for graph, file in bundle.builds[profile.name].graphs.items():
        bundle.check(file)
        for name in bundle.graph_files(profile.name, graph)[1:]:
            bundle.check(name)
        check_graph(bundle.path(file))
        tensors = read_tensors(bundle.path(file))
        shapes = engine_shapes(tensors.inputs, bundle.axes, profile)
        for sm in order.targets:
            yield Engine(
                profile=profile.name,
                graph=graph,
                builder=row.name,
                version=row.version,
                sm=capability() if sm == CURRENT else sm,
                sources=graph_sources(bundle, profile.name, graph),
                shapes=shapes,
                inputs=tensors.inputs,
                outputs=tensors.outputs,
                flags={**_FLAGS, STRIPPED: True} if order.stripped else _FLAGS,
            )


def _attempt(folder: Path, engine: Engine, into: Path, order: Order) -> Report:
    """Build one engine into a file and report on it."""
    made = _built(folder, engine, into, order)
    return Report(
        graph=engine.graph,
        profile=engine.profile,
        sm=engine.sm,
        builder=engine.builder,
        stage=made.pop("stage"),
        reasons=made.pop("reasons"),
        attention=attention_layers(check_graph(folder / graph_file(engine))),
        sets=len(engine.shapes),
        figures=made,
    )


def _built(folder: Path, engine: Engine, into: Path, order: Order) -> dict[str, Any]:
    """Build one engine into a file and return what the child says."""
    return run_build(folder / graph_file(engine), into, build_request(engine), order.limits)


def graph_file(engine: Engine) -> str:
    """Return the name in the bundle of the graph that an engine is built from: the first of its sources."""
    return next(iter(engine.sources))


def _add(folder: Path, engine: Engine, made: Path, report: Report, *, ep_context: bool) -> None:
    """Move an engine into the bundle, with its sidecar; the manifest, which makes them count, comes last."""
    finished = dataclasses.replace(engine, sha256=report.figures["sha256"])
    try:
        (folder / FOLDER).mkdir(exist_ok=True)
        made.replace(folder / finished.file)
        write_sidecar(finished, folder)
        names = [finished.file, finished.sidecar]
        if ep_context:
            names.append(write_ep_context(finished, folder))
        add_files(Bundle.read(folder), names)
        _remember(folder, finished, report)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _add_ep_context(folder: Path, engine: Engine) -> None:
    """Write the graph around an engine that is there."""
    try:
        add_files(Bundle.read(folder), [write_ep_context(engine, folder)])
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> EnvironmentMissing:
    return EnvironmentMissing(f"'{folder}' cannot be written ({error.strerror}): is the disk full?")


def _remember(folder: Path, engine: Engine, report: Report) -> None:
    """Keep the report's figures, which differ from machine to machine, where no digest covers them."""
    path = folder / REPORTS / ENGINES_REPORT
    path.parent.mkdir(exist_ok=True)
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[engine.name] = {"attention": report.attention, **report.figures}
    write_synced(path, json.dumps(known, indent=1, sort_keys=True) + "\n")
