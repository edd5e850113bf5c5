"""The README's table of figures, made from the committed result files and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from .rows import Row, milliseconds, times, work_rows

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
    tables: dict[str, tuple[list[Row], dict[str, str]]] = {}
    for name, make in _ROWS.items():
        if name in results:
            result = results[name]["result"]
            rows, peers = tables.setdefault(_machine(results[name]["environment"]), ([], {}))
            rows.extend(make(result))
            peers.update(result.get("versions", {}))
    return "\n".join(line for machine, found in tables.items() for line in _table(machine, *found))


def _machine(environment: dict[str, Any]) -> str:
    machine = f"{environment['cpu']} ({', '.join(environment['features'])}), {environment['cores']} shared cores"
    return f"{machine}, Python {environment['python']}, {_named(environment['packages'])}"


def _table(machine: str, rows: list[Row], peers: dict[str, str]) -> list[str]:
    beside = f"; in their own environments {_named(peers)}" if peers else ""
    return [
        "| what | vitrify | beside it, in the same run |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"{machine}{beside}. Medians, quartiles in brackets.",
        "",
    ]


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _start(result: dict[str, Any]) -> list[Row]:
    start, first = result["start"], result["first result"]

    def seconds(rows: dict[str, Any], name: str) -> str:
        return f"{milliseconds(rows[name]['seconds'])}, {rows[name]['megabytes']['median']:.0f} MB"

    bare = start["python -c pass"]["seconds"]["median"]
    peers = ("transformers.pipeline", "bare onnxruntime")
    return [
        (
            "`import vitrify`, beyond Python's own start",
            f"{1000 * (start['import vitrify']['seconds']['median'] - bare):.0f} ms",
            f"`import transformers` {1000 * (start['import transformers']['seconds']['median'] - bare):.0f} ms",
        ),
        ("`vitrify --help`", milliseconds(start["vitrify --help"]["seconds"]), ""),
        (
            "new process to the first MiniLM result",
            seconds(first, "vitrify"),
            "; ".join(f"{peer} {seconds(first, peer)}" for peer in peers),
        ),
    ]


def _latency(result: dict[str, Any]) -> list[Row]:
    taken, ratios = result["milliseconds"], result["ratios"]
    peers = ("PyTorch fp32", "PyTorch bf16", "bare onnxruntime fp32")
    rows = []
    for profile, drift in result["drift"].items():
        beside = "; ".join(
            f"{peer} {taken[peer]['median']:.0f} ms = {times(ratios[f'{peer} / {profile}'])}" for peer in peers
        )
        accuracy = f"drift {drift:.1g}; MiniLM sentence vectors: lowest cosine {result['agreement'][profile]:.4f}"
        rows.append((f"BERT-base 1 x 128, `{profile}` ({accuracy})", f"{taken[profile]['median']:.1f} ms", beside))
    sizes = ", ".join(f"`{name}` {size:.2f}x" for name, size in result["sizes"].items())
    return [*rows, ("size of a graph over the checkpoint's fp32 weights", sizes, "")]


def _exporting(result: dict[str, Any]) -> list[Row]:
    return [_export(name, found) for name, found in result.items()]


def _export(name: str, found: dict[str, Any]) -> Row:
    seconds, memory, weights = found["seconds"], found["megabytes"]["median"], found["weights_megabytes"]
    size = f"; the bundle {found['bundle_megabytes']:.0f} MB" if "bundle_megabytes" in found else ""
    return (
        f"export of {name} from the command line, `cpu-fp32`, proven",
        f"{seconds['median']:.1f} s [{seconds['q1']:.1f}-{seconds['q3']:.1f}], peak {memory:.0f} MB{size}",
        f"the weights {weights:.0f} MB: peak {memory / weights:.1f}x",
    )


def _generation(result: dict[str, Any]) -> list[Row]:
    export = sum(result["export_seconds"].values())
    rows = [
        (
            f"export of SmolLM2-135M with {len(result['quality'])} profiles, proven",
            f"{export:.0f} s",
            _sizes(result["sizes"]),
        )
    ]
    said = "; ".join(
        f"`{name}` {quality['agreement']:.0%} of the most likely tokens, divergence {quality['kl_mean']:.3f} nats"
        for name, quality in result["quality"].items()
        if quality
    )
    rows += [*work_rows(result), ("what few bits leave of PyTorch's answers", said, "")]
    if overhead := result.get("overhead_microseconds"):
        rows.append(("a step of greedy search beyond the decoder's own", f"{overhead['per step']:.0f} µs", ""))
    return rows


def _sizes(sizes: dict[str, float]) -> str:
    return "weights files over the checkpoint's: " + ", ".join(f"`{name}` {size:.2f}x" for name, size in sizes.items())


_ROWS = {
    "start": _start,
    "latency": _latency,
    "exporting": _exporting,
    "generation": _generation,
    "batches": work_rows,
    "transcription": work_rows,
    "translation": work_rows,
}
