"""Commands that measure: how fast a model runs, where its time goes, which configuration is the fastest."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import MEASURING, AllowPickle, BundleFolder, Json, MaxDrift, Revision, Threads, TrustRemoteCode, command
from .combinations import only_with
from .output import conclude, detail_of, print_document, progress_shown

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Bundle, ONNX folder, checkpoint folder or Hub id.")]
Batch = Annotated[str | None, typer.Option(metavar="TEXT", help="Batch sizes, e.g. 1,8.")]
Sequence = Annotated[str | None, typer.Option(metavar="TEXT", help="Sequence lengths, e.g. 16,128.")]
NewTokens = Annotated[str | None, typer.Option(metavar="TEXT", help="New tokens to generate, e.g. 1,32.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", metavar="TEXT", help="Sizes of another axis, e.g. height=224,384; repeatable."),
]
Rounds = Annotated[int, typer.Option(metavar="INTEGER", min=1, help="Repetitions per backend and case.")]


@command(MEASURING, example="vitrify bench minilm --against torch,ort --checkpoint ./all-MiniLM-L6-v2 --batch 1,8")
def bench(
    model: Model,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            "-p",
            metavar="TEXT",
            help="Profile to measure, or auto (default: all of a bundle); repeatable.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Baselines, comma-separated: torch, torch-bf16, torch-compile, ort."),
    ] = None,
    max_drift: MaxDrift = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    threads: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Intra-op threads, e.g. 1,2 (default: available cores).")
    ] = None,
    rounds: Rounds = 15,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Poisson arrivals, requests per second, e.g. 5,20; or auto: shares of the throughput."
        ),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="NUMBER", min=0, help="Duration of each arrival rate (default: 10).")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Original checkpoint (for the torch baselines).")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Measure without baselines that are not available.")
    ] = False,
    task: Annotated[str | None, typer.Option(metavar="TEXT", help="Task to export a checkpoint for.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Folder for the JSON, CSV and HTML report (default: NAME-bench)."
        ),
    ] = None,
    baseline: Annotated[Path | None, typer.Option(metavar="PATH", help="Baseline result.json.")] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT", help="Condition that fails the gate, e.g. 'p95_ratio>1.05', 'torch_ratio<3'; repeatable."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Accept a baseline from another machine.")] = False,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Benchmark latency, throughput and memory against baselines. Exit code 5 if a --fail-if condition is met."""
    from ..bench.environment import fingerprint
    from ..bench.gate import check_baseline, known_figures, require_kept
    from ..bench.measure import SECONDS, Measurement, measure_model
    from ..bench.result import Result
    from ..bench.result_files import writable_folder, write_outputs
    from ..bench.table import table_parts
    from ..runtime.loading import MAX_DRIFT
    from ..runtime.sources.request import Request
    from ..runtime.verification.conditions import read_conditions
    from .grid import read_names, read_numbers, read_rates, read_sizes

    baselines = read_names("--against", against)
    only_with("--max-drift", "--profile auto", given=max_drift is not None, met="auto" in (profile or ()))
    only_with("--seconds", "--rate", given=seconds is not None, met=rate)
    only_with("--force", "--baseline", given=force, met=baseline)
    only_with("--checkpoint", "--against torch", given=checkpoint, met=[x for x in baselines if x != "ort"])
    only_with("--allow-missing", "--against", given=allow_missing, met=baselines)
    measurement = Measurement(
        Request(model, revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle),
        task=task,
        checkpoint=checkpoint,
        profiles=profile or (),
        against=baselines,
        max_drift=MAX_DRIFT if max_drift is None else max_drift,
        sizes=read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or []),
        threads=read_numbers("--threads", threads) if threads else (),
        rounds=rounds,
        rates=read_rates(rate),
        seconds=SECONDS if seconds is None else seconds,
        allow_missing=allow_missing,
        command=shlex.join(["vitrify", *sys.argv[1:]]),
    )
    conditions = read_conditions(fail_if or [], known_figures(baselines, with_baseline=baseline is not None))
    before = Result.read(baseline) if baseline else None
    if before is not None:
        check_baseline(fingerprint(), before, forced=force)
    folder = writable_folder(output or Path(f"{Path(model).name}-bench"))
    with progress_shown(quiet=as_json) as progress:
        result = measure_model(measurement, progress=progress, detail=detail_of(progress))
    files = write_outputs(result, folder)
    parts = [*table_parts(result), f"report: {files['html']}"]
    conclude(
        {**result.to_json(), "files": files}, parts, lambda: require_kept(result, conditions, before), as_json=as_json
    )
    if result.interrupted:
        raise KeyboardInterrupt


@command(MEASURING, example="vitrify trace minilm --batch 1 --sequence 128 -o trace.json")
def trace(
    model: BundleFolder,
    profile: Annotated[
        str | None, typer.Option("--profile", "-p", metavar="TEXT", help="Profile of the bundle.")
    ] = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    threads: Threads = None,
    runs: Annotated[int, typer.Option(metavar="INTEGER", min=1, help="Profiled runs (after 2 warm-up runs).")] = 10,
    top: Annotated[int, typer.Option(metavar="INTEGER", min=1, help="Number of nodes to list.")] = 10,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Write a trace file (open it in ui.perfetto.dev)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Profile a bundle by operator and node, with its runtime's own profiler."""
    from ..bench.trace import describe_trace, trace_bundle
    from .grid import read_sizes

    sizes = read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or [])
    found = trace_bundle(model, profile=profile, sizes=sizes, threads=threads, runs=runs, output=output)
    print_document(*describe_trace(found, top=top), as_json=as_json)


@command(MEASURING, example="vitrify tune minilm --batch 1 --sequence 128")
def tune(
    bundle: BundleFolder,
    max_drift: MaxDrift = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    rounds: Rounds = 10,
    prepack: Annotated[
        bool, typer.Option("--prepack", help="Cache the fastest configuration's prepacked weights, for faster loading.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Find the fastest configuration that passes the accuracy check; `--profile auto` then uses it."""
    from ..bench.tune import describe_tuning, tune_bundle
    from ..runtime.loading import MAX_DRIFT
    from .grid import read_sizes

    drift = MAX_DRIFT if max_drift is None else max_drift
    sizes = read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or [])
    with progress_shown(quiet=as_json) as progress:
        found = tune_bundle(bundle, sizes=sizes, max_drift=drift, rounds=rounds, prepack=prepack, progress=progress)
    print_document(*describe_tuning(found), as_json=as_json)
