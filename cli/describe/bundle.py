"""What `vitrify info` prints: a bundle as its manifest describes it; no graph is opened unless that is asked for."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...runtime.amounts import size_text
from ...runtime.bundle.engines import NOT_RUN, engines_of
from ...runtime.bundle.manifest import Bundle
from ...runtime.bundle.reading import read_bundle
from ...runtime.errors import EnvironmentMissing
from ...runtime.graphs.signature import Axis, Tensor
from . import Description


def describe_bundle(folder: str | Path) -> Description:
    """Say what a bundle is, from its manifest; raise UsageError where there is none, IntegrityError if it is broken.

    Of graphs that others compiled it says what they and their config.json tell.
    """
    bundle = read_bundle(folder)
    sizes = {name: bundle.path(name).stat().st_size for name in bundle.files}
    document = {
        "bundle": str(bundle.folder),
        "architecture": bundle.architecture,
        "model_type": bundle.model_type,
        "head": bundle.head,
        "tasks": bundle.tasks,
        "family": bundle.family,
        "foreign": not bundle.is_verified,
        "bytes": sum(sizes.values()),
        "axes": {name: {"minimum": axis.minimum, "maximum": axis.maximum} for name, axis in bundle.axes.items()},
        "graphs": {
            name: {"inputs": _tensors(graph.inputs), "outputs": _tensors(graph.outputs)}
            for name, graph in bundle.graphs.items()
        },
        "profiles": {name: _build(bundle, name, sizes) for name in bundle.builds},
        "engines": [
            {
                "file": engine.file,
                "profile": engine.profile,
                "graph": engine.graph,
                "sm": engine.sm,
                "builder": f"{engine.builder} {engine.version}",
                "bytes": sizes.get(engine.file, 0),
                "run_on": engine.run_on,
            }
            for engine in engines_of(bundle)
        ],
        "source": {
            "id": bundle.source.id,
            "revision": bundle.source.revision,
            "files": dict(bundle.source.files),
            "pickle": bundle.source.pickle,
            "remote_code": bundle.source.remote_code,
        },
        "tools": dict(bundle.tools),
    }
    return document, list(_bundle_lines(bundle, document))


def _tensors(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    return [{"name": tensor.name, "dtype": tensor.dtype, "axes": tensor.axes} for tensor in tensors]


def _build(bundle: Bundle, name: str, sizes: Mapping[str, int]) -> dict[str, Any]:
    build = bundle.builds[name]
    files = [file for graph in build.graphs for file in bundle.graph_files(name, graph)]
    return {
        "description": build.profile.description,
        "provider": build.profile.provider,
        "precision": build.profile.precision,
        "verified": build.verified,
        "emulated": build.emulated,
        "files": {file: sizes.get(file, 0) or bundle.path(file).stat().st_size for file in files},
    }


def _bundle_lines(bundle: Bundle, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"{bundle.folder}: {bundle.architecture} ({bundle.model_type}), {size_text(document['bytes'])}"
    yield f"  tasks: {', '.join(bundle.tasks)}"
    yield f"  head: {bundle.head}, family: {bundle.family}"
    yield f"  source: {bundle.source.id}, {_origin(bundle)}"
    for name, graph in bundle.graphs.items():
        yield f"  graph '{name}':"
        for way, tensors in (("in", graph.inputs), ("out", graph.outputs)):
            yield from (f"    {way:<3} {tensor.name}: {tensor}" for tensor in tensors)
    yield f"  axes: {', '.join(f'{name} {_limits(axis)}' for name, axis in bundle.axes.items())}"
    for name, build in document["profiles"].items():
        verdict = _verdict(build) if bundle.is_verified else "third-party, not verified"
        files = ", ".join(f"{file} {size_text(size)}" for file, size in build["files"].items())
        yield f"  profile {name}: {build['precision']} on {build['provider']}, {verdict}: {files}"
    for engine in document["engines"]:
        yield f"  engine {engine['file']}: {size_text(engine['bytes'])}, {_proof(engine['run_on'])}"
    yield f"  built with: {', '.join(f'{name} {version}' for name, version in bundle.tools.items())}"


def describe_assignments(folder: str | Path) -> Description:
    """Say of each profile which provider runs which operators, or why it does not run here; the sessions are asked."""
    from ...runtime.loading import LoadedBundle

    bundle = read_bundle(folder)
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in bundle.builds:
        try:
            found[name] = LoadedBundle(bundle, profile=name).assignments()
        except EnvironmentMissing as error:
            skipped[name] = str(error)
    lines = [
        f"  {name}, graph '{graph}': {sum(counts.values())} on {provider}: "
        f"{', '.join(f'{count} {operator}' for operator, count in counts.items())}"
        for name, graphs in found.items()
        for graph, providers in graphs.items()
        for provider, counts in providers.items()
    ]
    lines += [f"  {name}: not available: {reason}" for name, reason in skipped.items()]
    return {"bundle": str(bundle.folder), "profiles": found, "skipped": skipped}, [f"{bundle.folder}:", *lines]


def _proof(run_on: str) -> str:
    return run_on if run_on == NOT_RUN else f"verified on {run_on}"


def _verdict(build: Mapping[str, Any]) -> str:
    if not build["verified"]:
        return "does NOT match the checkpoint"
    if build["emulated"]:
        return "verified in an emulation, not on its device"
    return "verified against PyTorch" if build["precision"] == "fp32" else "within its tolerance of PyTorch"


def _origin(bundle: Bundle) -> str:
    source = bundle.source
    notes = [f"commit {source.revision}" if source.revision else "no commit (a local folder or a model object)"]
    notes += ["from pickled weights"] if source.pickle else []
    notes += ["its own code was run"] if source.remote_code else []
    return ", ".join(notes)


def _limits(axis: Axis) -> str:
    return f">= {axis.minimum}" if axis.maximum is None else f"{axis.minimum}..{axis.maximum}"
