"""What each result file answers, as tables: start, latency, throughput, generation, quality, size and export."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .beside import AUTO
from .labels import label
from .rows import Row, Table, duration, interval, missing, profiles_of, speedup, work_tables

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """A section of the page: the result files that answer it (patterns of their names), and how each is shown."""

    title: str
    words: str
    files: tuple[str, ...]
    tables: Callable[[Result], Sequence[Table]]


def _start(result: Result) -> list[Table]:
    start, first = result["start"], result["first result"]
    bare = start["python -c pass"]["seconds"]["median"]
    imports = [f"{1000 * (start[f'import {name}']['seconds']['median'] - bare):.0f} ms" for name in _IMPORTED]
    peers = ("vitrify", "transformers.pipeline", "bare onnxruntime")
    rows = (
        ("import, beyond Python's own start", *imports, ""),
        ("`vitrify --help`", duration(start["vitrify --help"]["seconds"]), "", ""),
        ("cold start to first result (MiniLM)", *(duration(first[peer]["seconds"]) for peer in peers)),
        ("cold start, peak memory", *(f"{first[peer]['megabytes']['median']:.0f} MB" for peer in peers)),
    )
    return [Table(("measure", "vitrify", *map(label, ("transformers", *peers[2:]))), rows)]


_IMPORTED = ("vitrify", "transformers")


def _latency(result: Result) -> list[Table]:
    tables = [table for name, found in _models(result) for table in work_tables({"what": name, **found})]
    works = {name: {work: each["ratios"] for work, each in found["work"].items()} for name, found in _models(result)}
    return [*tables, *_auto(works, result.get("max_drift"))]


def _models(result: Result) -> Iterator[tuple[str, Result]]:
    yield from result["models"].items()


def _auto(works: Mapping[str, Mapping[str, Result]], limit: float | None) -> list[Table]:
    """Return where `auto` does worst beside the fastest of the profiles that it may choose from, if it was measured."""
    # Profiles are named after their device, baselines are not.
    ratios = {
        f"{model}, {work}" if work else model: [
            ratio["median"] for name, ratio in found.items() if re.fullmatch(rf"cpu-\S+ / {AUTO}", name)
        ]
        for model, each in works.items()
        for work, found in each.items()
    }
    least = {work: min(found) for work, found in ratios.items() if found}
    if not least:
        return []
    worst = min(least, key=lambda work: least[work])
    note = (
        f"`{AUTO}` after `vitrify tune`, with a max relative error up to {limit}: at worst {1 / least[worst]:.2f}x the "
        f"time of the fastest profile ({worst})."
    )
    return [Table((), (), notes=(note,))]


def _ragged(result: Result) -> list[Table]:
    profiles = profiles_of(result["ratios"])
    baselines = [way for way in result["seconds"] if way not in profiles]
    baseline_rows = tuple(
        (f"(baselines, {what})", *own, *(show(result, way) for way in baselines)) for what, own, show in _SHOWN
    )
    rows = tuple(
        (f"`{profile}`", *(show(result, profile) for *_, show in _SHOWN), *_speedups(result, profile, baselines))
        for profile in profiles
    )
    texts, failed = result["texts"], missing(result["failed"], "these texts")
    stream = [
        f"{spread['median']:.0f} MB for {count} texts"
        for count, spread in result["stream"].get("megabytes", {}).items()
    ]
    notes = [*failed, f"As a stream in a new process, `cpu-fp32`, peak memory: {', '.join(stream)}."]
    title = f"{texts['count']} texts of {texts['tokens']:.0f} tokens on average through {result['what']}"
    columns = ("profile", "time", "peak memory", "lowest cosine", *map(label, baselines))
    table = Table(columns, (*baseline_rows, *rows), title=title, notes=tuple(notes))
    return [table, *_auto({result["what"]: {"": result["ratios"]}}, result.get("max_drift"))]


def _speedups(result: Result, profile: str, baselines: Sequence[str]) -> list[str]:
    found = [result["ratios"].get(f"{way} / {profile}") for way in baselines]
    return [speedup(ratio) if ratio else "" for ratio in found]


def _memory(result: Result, way: str) -> str:
    return f"{result['peak_mb'][way]:.0f} MB" if way in result["peak_mb"] else ""


def _cosine(result: Result, way: str) -> str:
    return f"{result['cosine'][way]:.4f}" if way in result["cosine"] else ""


_SHOWN = (
    ("time", ("", "", ""), lambda result, way: duration(result["seconds"][way])),
    ("peak memory", ("", "", ""), _memory),
    ("lowest cosine", ("", "", ""), _cosine),
)


def _generation(result: Result) -> list[Table]:
    overhead = result.get("overhead_microseconds")
    notes = (f"Generation-loop overhead per token (greedy search): {overhead['per step']:.0f} µs.",) if overhead else ()
    return [*work_tables(result), *([Table((), (), notes=notes)] if notes else [])]


def _errors(result: Result) -> list[Table]:
    drifts = {name: found["drift"] for name, found in _models(result)}
    rows = tuple(
        (f"`{profile}`", *(_shown(drift.get(profile), ".1g") for drift in drifts.values()), _shown(cosine, ".4f"))
        for profile, cosine in result["agreement"].items()
    )
    return [Table(("profile", *(f"{name}, max relative error" for name in drifts), "MiniLM, lowest cosine"), rows)]


def _shown(figure: float | None, shape: str) -> str:
    return "" if figure is None else f"{figure:{shape}}"


def _quality(result: Result) -> list[Table]:
    rows = tuple(
        (f"`{name}`", f"{found['agreement']:.0%}", f"{found['kl_mean']:.3f} nats", f"{found['kl_max']:.2f} nats")
        for name, found in result["quality"].items()
        if found
    )
    columns = ("profile", "top-1 agreement", "mean KL divergence", "max KL divergence")
    return [Table(columns, rows, title=label(result["what"]))]


def _sizes(result: Result) -> list[Table]:
    sizes = {name: found["sizes"] for name, found in result.get("models", {result.get("what"): result}).items()}
    files = dict.fromkeys(file for found in sizes.values() for file in found)
    rows: tuple[Row, ...] = tuple(
        (f"`{file}`", *(f"{found[file]:.2f}x" if file in found else "" for found in sizes.values())) for file in files
    )
    return [Table(("file", *map(label, sizes)), rows)]


def _exporting(result: Result) -> list[Table]:
    rows = tuple(
        (
            name,
            interval(found["seconds"], ".1f", "s"),
            f"{found['megabytes']['median']:.0f} MB",
            f"{found['weights_megabytes']:.0f} MB",
            f"{found['bundle_megabytes']:.0f} MB" if "bundle_megabytes" in found else "",
        )
        for name, found in result.items()
    )
    return [Table(("checkpoint, `cpu-fp32`", "time", "peak memory", "fp32 weights", "bundle"), rows)]


def _export_of_profiles(result: Result) -> list[Table]:
    seconds = sum(result["export_seconds"].values())
    named = ", ".join(f"`{name}`" for name in result["quality"])
    return [Table((), (), notes=(f"{label(result['what'])} with {named}: {seconds:.0f} s.",))]


QUESTIONS = (
    Question(
        "Start-up", "Each in a new process, interleaved; the model is a local bundle or checkpoint.", ("start",), _start
    ),
    Question(
        "Latency",
        "One call, model in memory. Cases are batch x tokens, or images of 224 x 224.",
        ("latency",),
        _latency,
    ),
    Question(
        "Throughput",
        "Texts of different lengths to their sentence vectors; cosine with those of PyTorch in float32.",
        ("ragged",),
        _ragged,
    ),
    Question("Text generation", "Greedy search, a fixed number of new tokens.", ("generation", "batches"), _generation),
    Question(
        "Speech recognition",
        "Seconds to transcribe; word error rate (WER) against the transcript of PyTorch in float32, where it is not 0.",
        ("transcription",),
        work_tables,
    ),
    Question("Translation", "Beam search with 4 beams.", ("translation",), work_tables),
    Question(
        "Numerical accuracy",
        "Max relative error (max abs error / max abs output) against PyTorch in float32; of sentence vectors, the "
        "lowest cosine with those of `cpu-fp32`.",
        ("latency",),
        _errors,
    ),
    Question(
        "Quantization quality",
        "Weight-only quantization: next-token predictions compared with those of PyTorch in float32.",
        ("generation",),
        _quality,
    ),
    Question(
        "Size",
        "Files relative to the checkpoint's float32 weights; a graph counts with its weights.",
        ("latency", "generation"),
        _sizes,
    ),
    Question(
        "Export",
        "From the command line, verification against PyTorch included.",
        ("exporting",),
        _exporting,
    ),
    Question(
        "Export with several profiles", "One export, verification included.", ("generation",), _export_of_profiles
    ),
)
