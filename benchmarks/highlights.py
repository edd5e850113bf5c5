"""The README's five figures, each from a result file and with the strongest baseline of the same run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def highlights(results: Path) -> str:
    """Return them as a list in Markdown."""
    lines = (_start, _latency, _throughput, _generation, _export)
    return "".join(f"- {line(results)}\n" for line in lines)


def _start(results: Path) -> str:
    first = _result(results, "start")["first result"]
    ours, theirs = (
        f"{_seconds(first[way])}, {first[way]['megabytes']['median']:.0f} MB"
        for way in ("vitrify", "transformers.pipeline")
    )
    return f"Cold start to first result, MiniLM: {ours}; transformers {theirs}"


def _latency(results: Path) -> str:
    found = _result(results, "latency")["models"]["BERT-base"]["work"]["1 x 128"]["seconds"]
    ours = " and ".join(f"{_milliseconds(found[way])} (`{way}`)" for way in ("cpu-int8-static", "cpu-fp32"))
    theirs = ", ".join(f"{way} {_milliseconds(found[way])}" for way in ("OpenVINO bf16", "PyTorch fp32"))
    return f"BERT-base, one text of 128 tokens: {ours}; {theirs}"


def _throughput(results: Path) -> str:
    result = _result(results, "ragged")
    found = result["seconds"]
    ours = " and ".join(f"{found[way]['median']:.1f} s (`{way}`)" for way in ("cpu-int8-static", "cpu-fp32"))
    others = ("sentence-transformers bf16", "transformers.pipeline")
    theirs = ", ".join(f"{way} {found[way]['median']:.1f} s" for way in others)
    return f"{result['texts']['count']:,} texts through MiniLM: {ours}; {theirs}"


def _generation(results: Path) -> str:
    found = _result(results, "generation")["work"]["decode, batch 1, 128 new tokens"]["tokens_per_second"]
    ways = ("onnxruntime-genai int4", "llama.cpp Q4_1", "PyTorch bf16")
    theirs = ", ".join(f"{way} {found[way]['median']:.0f}" for way in ways)
    return f"SmolLM2-135M, decoding: {found['cpu-w4']['median']:.0f} tokens/s (`cpu-w4`); {theirs}"


def _export(results: Path) -> str:
    found = _result(results, "exporting")["MiniLM"]
    memory = found["megabytes"]["median"] / 1000
    return f"Export of MiniLM, verification included: {found['seconds']['median']:.0f} s, {memory:.1f} GB"


def _seconds(found: Mapping[str, Any]) -> str:
    seconds = found["seconds"]["median"]
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _milliseconds(spread: Mapping[str, float]) -> str:
    return f"{1000 * spread['median']:.0f} ms"


def _result(results: Path, name: str) -> dict[str, Any]:
    return json.loads((results / f"{name}.json").read_text())["result"]
