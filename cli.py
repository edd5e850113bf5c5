"""The `vitrify` command: parses, calls one function, prints; no logic of its own."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .runtime.errors import DependencyMissing, UsageError, VitrifyError
from .version import __version__

INTERRUPTED = 130
# The extra that brings a module; only those whose absence is told nowhere nearer to its use.
EXTRAS = dict.fromkeys(("torch", "transformers", "onnx", "onnx_ir", "onnxscript", "sentencepiece"), "export")

app = typer.Typer(
    name="vitrify",
    help="Compile a Hugging Face checkpoint once; run it anywhere through pipeline(), without PyTorch.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
Profiles = Annotated[
    list[str] | None, typer.Option("--profile", "-p", help="Deployment target; may be given several times.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")]
TrustRemoteCode = Annotated[bool, typer.Option(help="Run the checkpoint's own Python code while exporting.")]
Sm = Annotated[
    str | None,
    typer.Option("--sm", help="Compute capabilities, as 86,89,120 (default: portable, one engine for all)."),
]
EngineBuilder = Annotated[str, typer.Option("--builder", help="What builds engines: tensorrt-rtx or tensorrt.")]
Shapes = Annotated[
    list[str] | None, typer.Option("--shapes", help="A range in place of the profile's, as sequence=1:128:512.")
]
Timeout = Annotated[float, typer.Option(help="Seconds that one build may take.")]
Memory = Annotated[float | None, typer.Option(help="Gigabytes that one build may take.")]
EngineProfiles = Annotated[
    list[str] | None, typer.Option("--profile", "-p", help="A profile of the bundle (default: all that have engines).")
]
AllowPickle = Annotated[bool, typer.Option(help="Load pickled weights, in a child process without network.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


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
    no_engines: Annotated[bool, typer.Option("--no-engines", help="Leave the engines to build-engine.")] = False,
    as_json: Json = False,
    source_id: Annotated[str | None, typer.Option(hidden=True)] = None,
    source_revision: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compile a checkpoint into a bundle, and prove that it is the same model."""
    from . import export_bundle
    from .runtime.bundle import Provenance

    with _progress(quiet=as_json) as progress:
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
            progress=progress,
        )
    document = {
        "bundle": str(report.folder),
        "tasks": report.bundle.tasks,
        "passed": report.passed,
        "profiles": report.profiles,
        "seconds": report.seconds,
    }
    lines = [f"{report.folder}: {report.bundle.architecture}, serves {', '.join(report.bundle.tasks)}"]
    _print(document, [*lines, *_parity_lines(report.profiles)], as_json=as_json)


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
    max_drift: Annotated[
        float | None, typer.Option(help="For --profile auto: the largest drift from PyTorch accepted.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Rows that run together.")] = 1,
    threads: Annotated[int | None, typer.Option(help="Threads of one run (default: usable cores).")] = None,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Run a task on inputs, without PyTorch."""
    from .runtime.factory import pipeline
    from .runtime.inputs import read_inputs, read_parameters

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
        _print(
            {"task": pipe.task, "model": pipe.bundle.name, "profile": pipe.profile, "results": list(results)},
            [],
            as_json=True,
        )
        return
    for result in results:
        _say(json.dumps(result, ensure_ascii=False))


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
    from .runtime.verify import require_passed, verify_bundle

    verification = verify_bundle(bundle)
    if against is not None:
        from .export.against import verify_against
        from .runtime.hub import Request

        request = Request(against, revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle)
        verification = verify_against(verification, bundle, request)
    document = {**vars(verification), "passed": verification.passed}
    lines = [f"{bundle}: {verification.files} files are what they should be", *_parity_lines(verification.profiles)]
    lines += [f"  {name}: skipped: {reason}" for name, reason in verification.skipped.items()]
    _conclude(document, lines, lambda: require_passed(verification), as_json=as_json)


@app.command()
def build_engine(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = "tensorrt-rtx",
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    force: Annotated[bool, typer.Option(help="Build engines anew that are there already.")] = False,
    ep_context: Annotated[
        bool, typer.Option(help="Write an ONNX graph around each, for ONNX Runtime's plugin.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build TensorRT engines of a bundle's graphs and add them to it; needs no GPU with tensorrt-rtx."""
    from .export.engine.build import build_engines, read_order
    from .export.engine.report import describe_reports

    order = read_order(sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory)
    with _progress(quiet=as_json) as progress:
        reports = build_engines(bundle, profile, order, force=force, ep_context=ep_context, progress=progress)
    _print(*describe_reports(bundle, reports, done="built, in trt/"), as_json=as_json)


@app.command()
def check_engine(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = "tensorrt-rtx",
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    once: Annotated[bool, typer.Option(help="Do not build twice to compare the bytes.")] = False,
    fail_if: Annotated[list[str] | None, typer.Option(help="A condition that fails the check: 'fused<1'.")] = None,
    as_json: Json = False,
) -> None:
    """Build engines, keep none, and report what was fused, in which types, how large; exit 3 if one fails."""
    from .export.engine.build import check_engines, read_order, require_built
    from .export.engine.report import describe_reports
    from .runtime.fail_if import read_condition

    order = read_order(sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory)
    conditions = [read_condition(text) for text in fail_if or []]
    with _progress(quiet=as_json) as progress:
        reports = check_engines(bundle, profile, order, twice=not once, progress=progress)
    described = describe_reports(bundle, reports, done="attempted")
    _conclude(*described, lambda: require_built(reports, conditions), as_json=as_json)


@app.command()
def info(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    assignments: Annotated[
        bool, typer.Option("--assignments", help="Open every graph and say which provider runs which operators.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what a bundle is: its model, tasks, graphs, profiles and origin."""
    from .runtime.describe import describe_assignments, describe_bundle

    document, lines = describe_assignments(bundle) if assignments else describe_bundle(bundle)
    _print(document, lines, as_json=as_json)


@app.command()
def tasks(as_json: Json = False) -> None:
    """List the tasks, with what they do and their default checkpoints."""
    from .runtime.pipelines import TASKS

    rows = [{"task": t.name, "aliases": t.aliases, "summary": t.summary, "default": t.default[0]} for t in TASKS]
    lines = [f"{t.name:<26} {t.summary}{f' (alias: {t.aliases[0]})' if t.aliases else ''}" for t in TASKS]
    _print({"tasks": rows}, lines, as_json=as_json)


@app.command()
def profiles(as_json: Json = False) -> None:
    """List the profiles, and whether this machine can run them."""
    from .runtime.describe import describe_profiles

    document, lines = describe_profiles()
    _print(document, lines, as_json=as_json)


@app.command()
def doctor(
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build a small engine and run it on the GPU.")] = False,
    as_json: Json = False,
) -> None:
    """Say what this machine is, what is installed, and what is missing for what."""
    from .runtime.describe import describe_machine, require_working

    if tensorrt:
        from .export.engine.self_test import require_passed, try_engines

        found = try_engines()
        lines = [f"{name}: {said}" for name, said in found.items()]
        _conclude({"builders": found}, lines, lambda: require_passed(found), as_json=as_json)
    else:
        document, lines = describe_machine()
        _conclude(document, lines, lambda: require_working(document), as_json=as_json)


def main() -> None:
    """Run the command line; every failure is one line on stderr and an exit code."""
    as_json = "--json" in sys.argv
    try:
        code = app(standalone_mode=False)  # Ctrl-C comes out as its exit code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: our own bug, or typer's usage errors
        code = INTERRUPTED if _was_interrupted(error) else _told(error, as_json=as_json)
    if code == INTERRUPTED:
        _failed("interrupted", code, as_json=as_json)
    sys.exit(code if isinstance(code, int) else 0)


def _was_interrupted(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind the error: compiled modules that it stops while they load raise ImportError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _told(error: Exception, *, as_json: bool) -> int:
    """Say in one line what went wrong, and return the exit code."""
    if isinstance(error, VitrifyError):
        return _failed(str(error), error.exit_code, as_json=as_json)
    if type(error).__module__.startswith(("typer", "click")):
        if type(error).__name__ == "Abort":  # how older releases of typer tell Ctrl-C
            return INTERRUPTED
        words = getattr(error, "format_message", lambda: str(error))()
        if not words:
            return UsageError.exit_code  # no command was given, and the help was printed
        return _failed(f"{words.rstrip('.')}. Try: vitrify --help", UsageError.exit_code, as_json=as_json)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        missing = DependencyMissing(f"{error.name} is not installed: pip install 'vitrify[{EXTRAS[error.name]}]'")
        return _failed(str(missing), missing.exit_code, as_json=as_json)
    if os.environ.get("VITRIFY_TRACEBACK"):
        raise error
    reason = " ".join(str(error).split())
    return _failed(
        f"bug in vitrify: {type(error).__name__}: {reason} (VITRIFY_TRACEBACK=1 shows where)", 1, as_json=as_json
    )


def _failed(message: str, code: int, *, as_json: bool) -> int:
    line = " ".join(message.split())
    if as_json:
        print(json.dumps({"error": line, "exit_code": code}, ensure_ascii=False))
    print(f"vitrify: {line}", file=sys.stderr)
    return code


def _print(document: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    _say(json.dumps(document, indent=1, ensure_ascii=False, default=str) if as_json else "\n".join(lines))


def _say(text: str) -> None:
    """Print at once; a reader that has gone away (`| head`) ends the command without complaint."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def _conclude(document: dict[str, Any], lines: list[str], check: Callable[[], None], *, as_json: bool) -> None:
    """Print what was found, and exit with what `check` raises: one document in JSON even then."""
    try:
        check()
    except VitrifyError as error:
        _print({**document, "error": str(error), "exit_code": error.exit_code}, lines, as_json=as_json)
        raise typer.Exit(_failed(str(error), error.exit_code, as_json=False)) from None
    _print(document, lines, as_json=as_json)


def _parity_lines(profiles: Any) -> Iterator[str]:
    for name, item in profiles.items():
        worst = item["worst"]
        verdict = "the same model" if item["passed"] else "NOT the same model"
        yield (
            f"  {name}: {verdict}: {item['compared']} comparisons with PyTorch, worst {worst['difference']:.2g} "
            f"of {worst['limit']:.2g} allowed ({worst['case']}, {worst['output']})"
            f"{'; emulated on this CPU, not verified on its device' if item.get('emulated') else ''}"
        )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield what takes step names; it shows them on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


if __name__ == "__main__":
    main()
