"""Commands on checkpoints and bundles: export, verify and describe them; and what this machine has for them."""

from pathlib import Path
from typing import Annotated

import typer

from .app import (
    MACHINE,
    MODELS,
    AllowPickle,
    BundleFolder,
    EngineBuilder,
    Json,
    Profiles,
    Revision,
    Sm,
    TrustRemoteCode,
    command,
)
from .combinations import not_with, only_with
from .output import conclude, parity_lines, print_document, progress_shown


@command(MODELS, example="vitrify export sentence-transformers/all-MiniLM-L6-v2 -o minilm")
def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Checkpoint folder or Hub id.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Folder of the bundle (default: the model's name)."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Task to export for (default: inferred from the checkpoint).")
    ] = None,
    profile: Profiles = None,
    revision: Revision = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing bundle.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    allow_mismatch: Annotated[
        bool, typer.Option("--allow-mismatch", help="Keep a bundle that fails the accuracy check, and record it.")
    ] = False,
    sm: Sm = None,
    pooling: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Pooling of a plain checkpoint for text-embedding, e.g. mean; repeatable."),
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Normalize its vectors to length 1.")] = False,
    ignore_modules: Annotated[
        bool, typer.Option("--ignore-modules", help="Leave out unsupported sentence-transformers modules.")
    ] = False,
    route: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Route of a sentence-transformers Router to export.")
    ] = None,
    builder: EngineBuilder = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Calibration data for int8/fp8: a text file (one sample per line) or a folder of images/audio.",
        ),
    ] = None,
    no_engines: Annotated[bool, typer.Option("--no-engines", help="Do not build TensorRT engines now.")] = False,
    as_json: Json = False,
    source_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    source_revision: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compile a checkpoint into a bundle and verify it numerically against PyTorch."""
    from .. import export_bundle
    from ..runtime.bundle.manifest import Provenance

    not_with("--sm", "--no-engines", given=sm, met=no_engines)
    not_with("--builder", "--no-engines", given=builder, met=no_engines)
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
            pooling=pooling or (),
            normalize=normalize,
            ignore_modules=ignore_modules,
            route=route,
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


@command(MODELS, example="vitrify verify minilm")
def verify(
    bundle: BundleFolder,
    against: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Recompute all outputs from this checkpoint with PyTorch.")
    ] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Check a bundle's files and outputs against what export recorded. Exit code 4 on a mismatch."""
    from ..runtime.verification.verify import require_passed, verify_bundle

    only_with("--revision", "--against", given=revision, met=against)
    only_with("--trust-remote-code", "--against", given=trust_remote_code, met=against)
    only_with("--allow-pickle", "--against", given=allow_pickle, met=against)
    verification = verify_bundle(bundle)
    if against is not None:
        from ..export.against import verify_against
        from ..runtime.sources.request import Request

        request = Request(against, revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
        verification = verify_against(verification, bundle, request)
    document = {**vars(verification), "passed": verification.passed}
    lines = [f"{bundle}: {verification.files} files match their SHA-256", *parity_lines(verification.profiles)]
    lines += [f"  {name}: skipped: {reason}" for name, reason in verification.skipped.items()]
    conclude(document, lines, lambda: require_passed(verification), as_json=as_json)


@command(MODELS, example="vitrify info minilm")
def info(
    bundle: BundleFolder,
    assignments: Annotated[
        bool, typer.Option("--assignments", help="Show which execution provider runs which operators.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show bundle metadata: model, tasks, graphs, profiles and source."""
    from .describe.bundle import describe_assignments, describe_bundle

    document, lines = describe_assignments(bundle) if assignments else describe_bundle(bundle)
    print_document(document, lines, as_json=as_json)


@command(MACHINE, example="vitrify tasks")
def tasks(as_json: Json = False) -> None:
    """List the supported tasks and their default checkpoints."""
    from rich.table import Table

    from ..runtime.tasks import TASKS

    rows = [{"task": t.name, "aliases": t.aliases, "summary": t.summary, "default": t.default[0]} for t in TASKS]
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    for t in TASKS:
        table.add_row(t.name, f"{t.summary}{f' (alias: {t.aliases[0]})' if t.aliases else ''}")
    print_document({"tasks": rows}, [table], as_json=as_json)


@command(MACHINE, example="vitrify profiles")
def profiles(as_json: Json = False) -> None:
    """List the profiles and whether they are available on this machine."""
    from .describe.profiles import describe_profiles

    document, lines = describe_profiles()
    print_document(document, lines, as_json=as_json)


@command(MACHINE, example="vitrify doctor")
def doctor(
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build a small engine and run it on the GPU.")] = False,
    as_json: Json = False,
) -> None:
    """Show system information, installed packages and missing extras."""
    from .describe.machine import describe_machine, require_working

    if tensorrt:
        from ..export.engine.self_test import require_passed, try_engines

        found = try_engines()
        lines = [f"{name}: {said}" for name, said in found.items()]
        conclude({"builders": found}, lines, lambda: require_passed(found), as_json=as_json)
    else:
        document, lines = describe_machine()
        conclude(document, lines, lambda: require_working(document), as_json=as_json)
