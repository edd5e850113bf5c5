"""The README's table of figures, made from the committed result files and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

from .beside import AUTO
from .rows import Row, milliseconds, times, work_rows

ROOT = Path(__file__).parent.parent
README, RESULTS = ROOT / "README.md", ROOT / "benchmarks" / "results"
_BETWEEN = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- /figures -->)", re.DOTALL)


def renew_readme() -> None:
    """Write the table into the README, between its two marks."""
    text = README.read_text(encoding="utf-8")
    README.write_text(_BETWEEN.sub(lambda _: figures(), text), encoding="utf-8")


def figures() -> str:
    """Return the tables, in Markdown, of every result file that is there: one for each machine and set of versions.

    What was measured on another machine too lies beside NAME.json as NAME.MACHINE.json.
    """
    tables: dict[str, tuple[list[Row], dict[str, str]]] = {}
    for name, make in _ROWS.items():
        for path in sorted(each for each in RESULTS.glob(f"{name}.*json") if ".interrupted" not in each.name):
            content = json.loads(path.read_text())
            rows, peers = tables.setdefault(_machine(content["environment"]), ([], {}))
            rows.extend(make(content["result"]))
            peers.update(content["result"].get("versions", {}))
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
    models = result["models"]
    rows = [row for name, found in models.items() for row in work_rows({"what": name, **found})]
    drifts = "; ".join(f"{name} {_each(found['drift'], '.1g')}" for name, found in models.items())
    sizes = "; ".join(
        f"{name} " + ", ".join(f"`{graph}` {size:.2f}x" for graph, size in found["sizes"].items())
        for name, found in models.items()
    )
    works = {name: {work: each["ratios"] for work, each in found["work"].items()} for name, found in models.items()}
    return [
        *rows,
        *_auto(works, result.get("max_drift")),
        ("drift from PyTorch, over the outputs' largest magnitude", drifts, ""),
        ("MiniLM's sentence vectors beside `cpu-fp32`: lowest cosine", _each(result["agreement"], ".4f"), ""),
        ("size of a graph over the checkpoint's fp32 weights", sizes, ""),
    ]


def _auto(works: dict[str, dict[str, dict[str, Any]]], max_drift: float | None) -> list[Row]:
    """Return a row that says where `auto` does worst beside the fastest of the profiles that it may choose from."""
    # Profiles are named after their device, peers are not.
    ratios = {
        f"{model}: {work}" if work else model: [
            ratio["median"] for name, ratio in found.items() if re.fullmatch(rf"cpu-\S+ / {AUTO}", name)
        ]
        for model, each in works.items()
        for work, found in each.items()
    }
    least = {work: min(found) for work, found in ratios.items() if found}
    if not least:
        return []
    worst = min(least, key=lambda work: least[work])
    said = f"at worst {1 / least[worst]:.2f}x the time of the fastest ({worst})"
    return [
        (f"`{AUTO}` after `vitrify tune`, drift up to {max_drift}, beside the profiles that it chooses from", said, "")
    ]


def _each(figures: dict[str, float], shape: str) -> str:
    return ", ".join(f"`{name}` {figure:{shape}}" for name, figure in figures.items())


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


def _ragged(result: dict[str, Any]) -> list[Row]:
    texts = result["texts"]
    name = (
        f"{texts['count']} texts of {texts['tokens']:.0f} tokens on average through {result['what']}, to their vectors"
    )
    profiles = list(dict.fromkeys(key.split(" / ")[1] for key in result["ratios"]))
    rows = [
        (
            f"{name}, `{profile}`",
            _texts(result, profile),
            "; ".join(
                f"{other} {_texts(result, other)} = {times(ratio)}"
                for other, mine, ratio in ((*key.split(" / "), ratio) for key, ratio in result["ratios"].items())
                if mine == profile
            ),
        )
        for profile in profiles
    ]
    if result["failed"]:
        rows.append((name, "", "no figure: " + "; ".join(f"{way}: {why}" for way, why in result["failed"].items())))
    stream = " and ".join(
        f"{spread['median']:.0f} MB for {count} texts"
        for count, spread in result["stream"].get("megabytes", {}).items()
    )
    auto = _auto({result["what"]: {"": result["ratios"]}}, result.get("max_drift"))
    return [*rows, *auto, ("the same as a stream in a new process, `cpu-fp32`: peak memory", stream, "")]


def _texts(result: dict[str, Any], way: str) -> str:
    """Return what a way takes for all texts, its peak memory and how far its vectors are those of PyTorch."""
    seconds, told = result["seconds"][way], []
    if way in result["peak_mb"]:
        told.append(f"{result['peak_mb'][way]:.0f} MB")
    if way in result["cosine"]:
        told.append(f"lowest cosine {result['cosine'][way]:.4f}")
    shown = f"{seconds['median']:.1f} s [{seconds['q1']:.1f}-{seconds['q3']:.1f}]"
    return f"{shown} ({', '.join(told)})" if told else shown


def _sizes(sizes: dict[str, float]) -> str:
    return "weights files over the checkpoint's: " + ", ".join(f"`{name}` {size:.2f}x" for name, size in sizes.items())


_ROWS = {
    "start": _start,
    "latency": _latency,
    "exporting": _exporting,
    "generation": _generation,
    "batches": work_rows,
    "ragged": _ragged,
    "transcription": work_rows,
    "translation": work_rows,
}
