"""Commands on checkpoints and bundles: make them, run them, prove them, describe them."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import AllowPickle, EngineBuilder, Json, MaxDrift, Profiles, Revision, Sm, TrustRemoteCode, app
from .output import conclude, parity_lines, print_document, progress_shown, say


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A checkpoint's folder or a Hub id.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle's folder (default: the model's name).")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Which head (default: the checkpoint's own); see `vitrify tasks`.")
    ] = None,
    profile: Profiles = None,
    revision: Revision = None,
    force: Annotated[bool, typer.Option(help="Replace an existing bundle.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    allow_mismatch: Annotated[
        bool, typer.Option(help="Keep a bundle that fails the parity gate, and record that.")
    ] = False,
    sm: Sm = None,
    builder: EngineBuilder = "tensorrt-rtx",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="What int8 and fp8 take scales from: texts, a line each, or a folder of images or recordings."
        ),
    ] = None,
    no_engines: Annotated[bool, typer.Option("--no-engines", help="Leave the engines to build-engine.")] = False,
    as_json: Json = False,
    source_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    source_revision: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compile a checkpoint into a bundle, and prove that it is the same model."""
    from .. import export_bundle
    from ..runtime.bundle.manifest import Provenance

    with progress_shown(quiet=as_json) as progress:
        report = export_bundle(
            model,
            output or Path(model).name,
            task=task,
            profiles=profile or ["cpu-fp32"],
            revision=revision,
            force=force,
            trust_remote_code=trust_remote_code,
            allow_pickle=allow_pickle,
            allow_mismatch=allow_mismatch,
            source=Provenance(source_id, source_revision) if source_id else None,
            sms=None if no_engines else sm.split(",") if sm else (),
            builder=builder,
            calibration=calibration,
            progress=progress,
        )
    document = {
        "bundle": str(report.folder),
        "tasks": report.bundle.tasks,
        "passed": report.passed,
        "profiles": report.profiles,
        "seconds": report.seconds,
        "left_out": report.left_out,
        "passes": report.passes,
    }
    lines = [f"{report.folder}: {report.bundle.architecture}, serves {', '.join(report.bundle.tasks)}"]
    lines += [*parity_lines(report.profiles), *(f"  {name}: left out: {why}" for name, why in report.left_out.items())]
    print_document(document, lines, as_json=as_json)


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="A task; see `vitrify tasks`.")],
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Texts, files, URLs or JSON; default: lines of stdin.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="A bundle, a checkpoint's folder or a Hub id (default: the task's)."),
    ] = None,
    param: Annotated[list[str] | None, typer.Option(help="An argument of the task, as name=JSON.")] = None,
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="A profile of the bundle, or auto.")] = None,
    max_drift: MaxDrift = None,
    batch_size: Annotated[int, typer.Option(help="Rows that run together.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of one run (default: usable cores).")] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Run a task on inputs, without PyTorch."""
    from ..runtime.factory import pipeline
    from ..runtime.inputs import read_inputs, read_parameters

    options = read_parameters(param or [])
    if max_drift is not None:
        options["max_drift"] = max_drift
    pipe = pipeline(
        task,
        model,
        profile=profile,
        batch_size=batch_size,
        threads=threads,
        revision=revision,
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
        **options,
    )
    results = pipe(read_inputs(pipe.task, inputs or [], sys.stdin))
    if as_json:
        print_document(
            {"task": pipe.task, "model": pipe.bundle.name, "profile": pipe.profile, "results": list(results)},
            [],
            as_json=True,
        )
        return
    for result in results:
        say(json.dumps(result, ensure_ascii=False))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    against: Annotated[
        str | None, typer.Option(help="Recompute everything against this checkpoint, with PyTorch.")
    ] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Check that a bundle is whole and still the same model; exit 4 if it is not."""
    from ..runtime.proof.verify import require_passed, verify_bundle

    verification = verify_bundle(bundle)
    if against is not None:
        from ..export.against import verify_against
        from ..runtime.sources.hub import Request

        request = Request(against, revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
        verification = verify_against(verification, bundle, request)
    document = {**vars(verification), "passed": verification.passed}
    lines = [f"{bundle}: {verification.files} files are what they should be", *parity_lines(verification.profiles)]
    lines += [f"  {name}: skipped: {reason}" for name, reason in verification.skipped.items()]
    conclude(document, lines, lambda: require_passed(verification), as_json=as_json)


@app.command()
def info(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    assignments: Annotated[
        bool, typer.Option("--assignments", help="Open every graph and say which provider runs which operators.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a bundle is: its model, tasks, graphs, profiles and origin."""
    from ..runtime.describe import describe_assignments, describe_bundle

    document, lines = describe_assignments(bundle) if assignments else describe_bundle(bundle)
    print_document(document, lines, as_json=as_json)


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks, with what they do and their default checkpoints."""
    from ..runtime.pipelines import TASKS

    rows = [{"task": t.name, "aliases": t.aliases, "summary": t.summary, "default": t.default[0]} for t in TASKS]
    lines = [f"{t.name:<26} {t.summary}{f' (alias: {t.aliases[0]})' if t.aliases else ''}" for t in TASKS]
    print_document({"tasks": rows}, lines, as_json=as_json)


@app.command()
def profiles(as_json: Json = False) -> None:
    """List the profiles, and whether this machine can run them."""
    from ..runtime.describe import describe_profiles

    document, lines = describe_profiles()
    print_document(document, lines, as_json=as_json)


@app.command()
def doctor(
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build a small engine and run it on the GPU.")] = False,
    as_json: Json = False,
) -> None:
    """Say what this machine is, what is installed, and what is missing for what."""
    from ..runtime.describe import describe_machine, require_working

    if tensorrt:
        from ..export.engine.self_test import require_passed, try_engines

        found = try_engines()
        lines = [f"{name}: {said}" for name, said in found.items()]
        conclude({"builders": found}, lines, lambda: require_passed(found), as_json=as_json)
    else:
        document, lines = describe_machine()
        conclude(document, lines, lambda: require_working(document), as_json=as_json)
