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
    """Return the table, in Markdown, of every result file that is there."""
    results = {path.stem: json.loads(path.read_text()) for path in RESULTS.glob("*.json")}
    rows = [row for name, make in _ROWS.items() if name in results for row in make(results[name]["result"])]
    environment = next(iter(results.values()))["environment"]
    machine = f"{environment['cpu']} ({', '.join(environment['features'])}), {environment['cores']} shared cores"
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    lines = [
        "| what | vitrify | beside it, in the same run |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{machine}, Python {environment['python']}, {packages}. Medians, quartiles in brackets.",
        "",
    ]
    return "\n".join(lines)


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


_ROWS = {"start": _start, "latency": _latency, "exporting": _exporting}


def _milliseconds(spread: dict[str, float]) -> str:
    return f"{1000 * spread['median']:.0f} ms [{1000 * spread['q1']:.0f}-{1000 * spread['q3']:.0f}]"


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f}x [{spread['q1']:.2f}-{spread['q3']:.2f}]"
