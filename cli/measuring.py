"""Commands that measure: how fast a model is here, where its time goes, which way is the fastest."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from .app import AllowPickle, Json, MaxDrift, Profiles, Revision, TrustRemoteCode, app
from .output import conclude, print_document, progress_shown

Model = Annotated[str, typer.Argument(help="A bundle, an ONNX folder, a checkpoint's folder or a Hub id.")]
Batch = Annotated[str | None, typer.Option(help="Rows at a time, as 1,8.")]
Sequence = Annotated[str | None, typer.Option(help="Tokens of each row, as 16,128.")]
NewTokens = Annotated[str | None, typer.Option(help="Tokens that are written, as 1,32.")]
Sizes = Annotated[list[str] | None, typer.Option("--size", help="Sizes of another axis, as height=224,384.")]


@app.command()
def bench(
    model: Model,
    profile: Profiles = None,
    against: Annotated[
        str | None, typer.Option(help="Peers beside it: torch, torch-bf16, torch-compile, ort; with commas.")
    ] = None,
    max_drift: MaxDrift = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    threads: Annotated[str | None, typer.Option(help="Threads of one run, as 1,2 (default: usable cores).")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each contender on each case.")] = 15,
    rate: Annotated[
        str | None, typer.Option(help="Arrivals a second at random times, as 5,20; or auto: shares of what is served.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long arrivals come at each rate.")] = 10.0,
    checkpoint: Annotated[str | None, typer.Option(help="What the bundle was made from, for torch.")] = None,
    task: Annotated[str | None, typer.Option(help="Which head of a checkpoint.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of JSON, CSV and report (default: NAME-bench).")
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="A former result.json, for ratios.")] = None,
    fail_if: Annotated[
        list[str] | None, typer.Option(help="A condition that fails the gate: 'p95_ratio>1.05', 'torch_ratio<3'.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Take a baseline from another machine.")] = False,
    revision: Revision = None,
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    as_json: Json = False,
) -> None:
    """Measure latency, throughput and memory over a grid, beside peers; exit 5 if a condition on them fails."""
    from ..bench.environment import fingerprint
    from ..bench.gate import check_baseline, require_kept
    from ..bench.measure import Order, measure_model
    from ..bench.result import Result
    from ..bench.result_files import prepared_folder, read_numbers, read_rates, read_sizes, write_outputs
    from ..bench.table import table_parts
    from ..runtime.fail_if import read_condition
    from ..runtime.hub import Request
    from ..runtime.loading import MAX_DRIFT

    order = Order(
        Request(model, revision, trust_remote_code=trust_remote_code, allow_pickle=allow_pickle),
        task=task,
        checkpoint=checkpoint,
        profiles=profile or (),
        against=against.split(",") if against else (),
        max_drift=MAX_DRIFT if max_drift is None else max_drift,
        sizes=read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or []),
        threads=read_numbers("--threads", threads) if threads else (),
        rounds=rounds,
        rates=read_rates(rate),
        seconds=seconds,
        command=shlex.join(["vitrify", *sys.argv[1:]]),
    )
    conditions = [read_condition(text) for text in fail_if or []]
    before = Result.read(baseline) if baseline else None
    if before is not None:
        check_baseline(fingerprint(), before, forced=force)
    folder = prepared_folder(output or Path(f"{Path(model).name}-bench"))
    with progress_shown(quiet=as_json) as progress:
        result = measure_model(order, progress=progress)
    files = write_outputs(result, folder)
    parts = [*table_parts(result), f"report: {files['html']}"]
    conclude(
        {**result.to_json(), "files": files}, parts, lambda: require_kept(result, conditions, before), as_json=as_json
    )
    if result.interrupted:
        raise KeyboardInterrupt


@app.command()
def trace(
    model: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="A profile of the bundle.")] = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    threads: Annotated[int | None, typer.Option(help="Threads of one run (default: usable cores).")] = None,
    runs: Annotated[int, typer.Option(help="Runs that are traced, after two that warm up.")] = 10,
    top: Annotated[int, typer.Option(help="How many nodes are listed.")] = 10,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the trace there, for ui.perfetto.dev.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say where the time goes: by type of operator and by node, as the profiler of its runtime sees it."""
    from ..bench.result_files import read_sizes
    from ..bench.trace import describe_trace, trace_bundle

    sizes = read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or [])
    found = trace_bundle(model, profile=profile, sizes=sizes, threads=threads, runs=runs, output=output)
    print_document(*describe_trace(found, top=top), as_json=as_json)


@app.command()
def tune(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    max_drift: MaxDrift = None,
    batch: Batch = None,
    sequence: Sequence = None,
    new_tokens: NewTokens = None,
    size: Sizes = None,
    rounds: Annotated[int, typer.Option(help="Turns of each way on each case.")] = 10,
    prepack: Annotated[
        bool, typer.Option("--prepack", help="Keep the winner's weights packed in the cache: it loads faster.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure every way to run a bundle here that is still the same model; `--profile auto` takes the fastest."""
    from ..bench.result_files import read_sizes
    from ..bench.tune import describe_tuning, tune_bundle
    from ..runtime.loading import MAX_DRIFT

    drift = MAX_DRIFT if max_drift is None else max_drift
    sizes = read_sizes({"--batch": batch, "--sequence": sequence, "--new-tokens": new_tokens}, size or [])
    with progress_shown(quiet=as_json) as progress:
        found = tune_bundle(bundle, sizes=sizes, max_drift=drift, rounds=rounds, prepack=prepack, progress=progress)
    print_document(*describe_tuning(found), as_json=as_json)
