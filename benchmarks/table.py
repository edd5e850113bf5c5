"""The README's table of figures, made from the committed result files and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
_BETWEEN = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def renew_readme() -> None:
    """Write the table into the README, between its two marks."""
    text = README.read_text(encoding="utf-8")
    README.write_text(_BETWEEN.sub(lambda _: figures(), text), encoding="utf-8")


def figures() -> str:
    """Return the tables, in Markdown, of every result file that is there: one for each machine and set of versions."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    rows: dict[str, list[tuple[str, str, str]]] = {}
    for name, make in _ROWS.items():
        if name in results:
            rows.setdefault(_machine(results[name]["environment"]), []).extend(make(results[name]["result"]))
    return "\n".join(line for machine, found in rows.items() for line in _table(machine, found))


def _machine(environment: dict[str, Any]) -> str:
    machine = f"{environment['cpu']} ({', '.join(environment['features'])}), {environment['cores']} shared cores"
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return f"{machine}, Python {environment['python']}, {packages}. Medians, quartiles in brackets."


def _table(machine: str, rows: list[tuple[str, str, str]]) -> list[str]:
    return [
        "| what | vitrify | beside it, in the same run |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        machine,
        "",
    ]


def _start(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    start, first = result["start"], result["first result"]

    def seconds(rows: dict[str, Any], name: str) -> str:
        return f"{_milliseconds(rows[name]['seconds'])}, {rows[name]['megabytes']['median']:.0f} MB"

    bare = start["python -c pass"]["seconds"]["median"]
    peers = ("transformers.pipeline", "bare onnxruntime")
    return [
        (
            "`import vitrify`, beyond Python's own start",
            f"{1000 * (start['import vitrify']['seconds']['median'] - bare):.0f} ms",
            f"`import transformers` {1000 * (start['import transformers']['seconds']['median'] - bare):.0f} ms",
        ),
        ("`vitrify --help`", _milliseconds(start["vitrify --help"]["seconds"]), ""),
        (
            "new process to the first MiniLM result",
            seconds(first, "vitrify"),
            "; ".join(f"{peer} {seconds(first, peer)}" for peer in peers),
        ),
    ]


def _latency(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    times, ratios = result["milliseconds"], result["ratios"]
    peers = ("PyTorch fp32", "PyTorch bf16", "bare onnxruntime fp32")
    rows = []
    for profile, drift in result["drift"].items():
        beside = "; ".join(
            f"{peer} {times[peer]['median']:.0f} ms = {_ratio(ratios[f'{peer} / {profile}'])}" for peer in peers
        )
        accuracy = f"drift {drift:.1g}; MiniLM sentence vectors: lowest cosine {result['agreement'][profile]:.4f}"
        rows.append((f"BERT-base 1 x 128, `{profile}` ({accuracy})", f"{times[profile]['median']:.1f} ms", beside))
    sizes = ", ".join(f"`{name}` {size:.2f}x" for name, size in result["sizes"].items())
    return [*rows, ("size of a graph over the checkpoint's fp32 weights", sizes, "")]


def _exporting(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    seconds, memory, weights = result["seconds"], result["megabytes"]["median"], result["weights_megabytes"]
    return [
        (
            "export of MiniLM from the command line, proven",
            f"{seconds['median']:.1f} s, peak {memory:.0f} MB",
            f"three times the weights + 1 GB would be {3 * weights + 1024:.0f} MB",
        )
    ]


def _generation(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    export = sum(result["export_seconds"].values())
    rows = [("export of SmolLM2-135M with three profiles, proven", f"{export:.0f} s", _sizes(result["sizes"]))]
    for work, found in result["work"].items():
        speeds = found["tokens_per_second"]
        for profile in result["quality"]:
            bare = f"bare steps {profile}"
            beside = [f"PyTorch fp32 {_speed(speeds['PyTorch fp32'])} = {_ratio(found['ratios'][profile])}"]
            beside += [f"its graph's bare steps {_speed(speeds[bare])}"] if bare in speeds else []
            rows.append((f"SmolLM2-135M: {work}, `{profile}`", _speed(speeds[profile]), "; ".join(beside)))
    said = "; ".join(
        f"`{name}` {quality['agreement']:.0%} of the most likely tokens, divergence {quality['kl_mean']:.3f} nats"
        for name, quality in result["quality"].items()
        if quality
    )
    return [*rows, ("what few bits leave of PyTorch's answers", said, "")]


def _sizes(sizes: dict[str, float]) -> str:
    return "weights files over the checkpoint's: " + ", ".join(f"`{name}` {size:.2f}x" for name, size in sizes.items())


def _speed(spread: dict[str, float]) -> str:
    return f"{spread['median']:.1f} tokens/s [{spread['q1']:.1f}-{spread['q3']:.1f}]"


_ROWS = {"start": _start, "latency": _latency, "exporting": _exporting, "generation": _generation}


def _milliseconds(spread: dict[str, float]) -> str:
    return f"{1000 * spread['median']:.0f} ms [{1000 * spread['q1']:.0f}-{1000 * spread['q3']:.0f}]"


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f}x [{spread['q1']:.2f}-{spread['q3']:.2f}]"
