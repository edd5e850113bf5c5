"""What `vitrify info`, `profiles` and `doctor` say: each a JSON document and the same as lines of text.

Nothing is loaded for it but ONNX Runtime, by the doctor, who must know whether it starts.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..profiles import Profile, load_profile, profile_names
from ..version import __version__
from .bundle.digests import cache_folder
from .bundle.engines import NOT_RUN, engines_of
from .bundle.manifest import Bundle
from .bundle.reading import read_bundle
from .errors import EnvironmentMissing, VitrifyError
from .graphs.signature import Axis, Tensor
from .machine import FEATURES, Machine, this_machine

Description = tuple[dict[str, Any], list[str]]

DISTRIBUTION = "vitrify"
WHEELS = ("onnxruntime", "onnxruntime-gpu")
_REQUIREMENT = re.compile(r"""([\w.-]+).*extra == ['"]([\w-]+)['"]""")
_DEVELOPMENT = "test"


# ------------------------------------------------------------------------------------------------------------- bundles


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
    yield f"{bundle.folder}: {bundle.architecture} ({bundle.model_type}), {_size(document['bytes'])}"
    yield f"  tasks: {', '.join(bundle.tasks)}"
    yield f"  head: {bundle.head}, family: {bundle.family}"
    yield f"  source: {bundle.source.id}, {_origin(bundle)}"
    for name, graph in bundle.graphs.items():
        yield f"  graph '{name}':"
        for way, tensors in (("in", graph.inputs), ("out", graph.outputs)):
            yield from (f"    {way:<3} {tensor.name}: {tensor}" for tensor in tensors)
    yield f"  axes: {', '.join(f'{name} {_limits(axis)}' for name, axis in bundle.axes.items())}"
    for name, build in document["profiles"].items():
        verdict = _verdict(build) if bundle.is_verified else "ONNX folder, not verified"
        files = ", ".join(f"{file} {_size(size)}" for file, size in build["files"].items())
        yield f"  profile {name}: {build['precision']} on {build['provider']}, {verdict}: {files}"
    for engine in document["engines"]:
        yield f"  engine {engine['file']}: {_size(engine['bytes'])}, {_proof(engine['run_on'])}"
    yield f"  made with: {', '.join(f'{name} {version}' for name, version in bundle.tools.items())}"


def describe_assignments(folder: str | Path) -> Description:
    """Say of each profile which provider runs which operators, or why it does not run here; the sessions are asked."""
    from .loading import LoadedBundle

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
    lines += [f"  {name}: does not run here: {reason}" for name, reason in skipped.items()]
    return {"bundle": str(bundle.folder), "profiles": found, "skipped": skipped}, [f"{bundle.folder}:", *lines]


def _proof(run_on: str) -> str:
    return run_on if run_on == NOT_RUN else f"proven on {run_on}"


def _verdict(build: Mapping[str, Any]) -> str:
    if not build["verified"]:
        return "NOT the same model as the checkpoint"
    return (
        "the same model in an emulation; not verified on its device"
        if build["emulated"]
        else "verified against PyTorch"
    )


def _origin(bundle: Bundle) -> str:
    source = bundle.source
    notes = [f"commit {source.revision}" if source.revision else "no commit (a local folder or a model object)"]
    notes += ["from pickled weights"] if source.pickle else []
    notes += ["its own code was run"] if source.remote_code else []
    return ", ".join(notes)


def _limits(axis: Axis) -> str:
    return f">= {axis.minimum}" if axis.maximum is None else f"{axis.minimum}..{axis.maximum}"


# ------------------------------------------------------------------------------------------------------------ profiles


def describe_profiles(*, machine: Machine | None = None) -> Description:
    """Say of each preset what it is, and whether `machine` (default: this one) can run it, or why not."""
    machine = machine or this_machine()
    rows = [_profile(load_profile(name), machine) for name in profile_names()]
    width = max(len(row["profile"]) for row in rows)
    lines = []
    for row in rows:
        lines += [f"{row['profile']:<{width}} {row['description']}", f"{'':<{width}} {row['obstacle'] or 'runs here'}"]
    return {"profiles": rows}, lines


def _profile(profile: Profile, machine: Machine) -> dict[str, Any]:
    obstacle = _obstacle(profile, machine)
    return {
        "profile": profile.name,
        "description": profile.description,
        "provider": profile.provider,
        "precision": profile.precision,
        "runs_here": obstacle is None,
        "obstacle": obstacle,
    }


def _obstacle(profile: Profile, machine: Machine) -> str | None:
    from .selection.profiles import check_machine

    try:
        check_machine(profile, machine)
    except VitrifyError as error:
        return str(error)
    return None


# -------------------------------------------------------------------------------------------------------- this machine


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
    from .sessions import check_packages
    from .sessions.telemetry import onnxruntime_module

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
            row["install"] = _replacement(row["packages"], versions) + f"pip install '{DISTRIBUTION}[{extra}]'"
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


def _machine_lines(document: Mapping[str, Any]) -> Iterator[str]:
    cpu, cache = document["cpu"], document["cache"]
    yield f"vitrify {document['vitrify']}, Python {document['python']}, {document['system']}"
    yield f"  cpu: {cpu['model']}, {cpu['cores']} usable cores, {', '.join(cpu['features']) or 'no vector extensions'}"
    yield f"  memory: {_size(document['memory_bytes'])}"
    yield f"  gpus: {', '.join(document['gpus']) or 'none'}"
    yield f"  providers: {', '.join(document['providers']) or 'none'}"
    for extra, row in document["extras"].items():
        packages = ", ".join(f"{name} {version or 'MISSING'}" for name, version in row["packages"].items())
        yield f"  extra {extra}: {packages}" + (f" ({row['install']})" if row["install"] else "")
    state = "" if cache["writable"] else ", NOT writable: set VITRIFY_CACHE to a folder that is"
    yield f"  cache: {cache['folder']}, {_size(cache['bytes'])}{state}"
    yield from (f"  PROBLEM: {problem}" for problem in document["problems"])


def _size(count: int) -> str:
    """Return a number of bytes as people read it, in powers of 1000."""
    value, units = float(count), ["B", "kB", "MB", "GB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
