"""SmolLM2-135M, one prompt at a time: writing through `pipeline()`, the first token of a long prompt, a second turn."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import load_bundle
from vitrify.bench.process import BackendError

from .agreement import same_tokens
from .beside import Work, measure_works
from .checkpoints import smollm2
from .smollm2 import GENAI, LLAMA, PROFILES, PYTORCH, WRITING, Contest, contest
from .speech import SENTENCES

NEW, LONG = 128, 512
STORY = "Once upon a time, in a small town by the sea, there lived an old lighthouse keeper who"


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return seconds and tokens per second of each way, ratios of the same rounds, and what the export took."""
    del scratch
    found = contest()
    tokenizer = load_bundle(found.bundles.folder("cpu-fp32")).tokenizer
    result = measure_works(_works(tokenizer), found.ways, rounds=rounds)
    return {"what": "SmolLM2-135M", **_exported(found), **result, **_overhead(found)}


def _works(tokenizer: Any) -> list[Work]:
    story = tokenizer(STORY)["input_ids"].tolist()
    prompt = np.random.default_rng(0).integers(1000, 40000, (1, LONG)).tolist()
    bare = [f"bare steps {profile}" for profile in WRITING]
    peers = [*PYTORCH, *GENAI, LLAMA]
    return [
        Work(
            f"decode, batch 1, {NEW} new tokens",
            "write",
            {"text": STORY, "ids": story, "new": NEW},
            [*WRITING, *bare, *peers],
            tokens=NEW,
            judged=same_tokens(1, NEW),
        ),
        Work(
            f"first token after {LONG}",
            "write",
            {"ids": prompt, "new": 1},
            [*PROFILES, *peers],
            judged=same_tokens(1, 1),
        ),
        Work(
            f"second chat turn after one of {LONG}, to its first token",
            "second-turn",
            {"said": _said(tokenizer)},
            [*WRITING, *(f"first turn {profile}" for profile in WRITING)],
        ),
    ]


def _said(tokenizer: Any) -> list[str]:
    """Return what a user says in two turns: first 512 tokens, then a short question."""
    text = " ".join(SENTENCES * 3)
    ids = tokenizer(text)["input_ids"][0][:LONG]
    return [tokenizer.decode(ids), "Which of these sentences is about the weather?"]


def _exported(found: Contest) -> dict[str, Any]:
    """Return what the exports took, the quantization quality, and the weights files' sizes."""
    reports = found.bundles.reports
    weights = (smollm2() / "model.safetensors").stat().st_size
    files = sorted({path for folder in found.bundles.folders.values() for path in Path(folder, "onnx").glob("*_data")})
    return {
        "export_seconds": {step: seconds for report in reports for step, seconds in report["seconds"].items()},
        "quality": {name: item.get("quality") for report in reports for name, item in report["profiles"].items()},
        "sizes": {path.name: path.stat().st_size / weights for path in files},
    }


def _overhead(found: Contest) -> dict[str, Any]:
    """Return microseconds a step of greedy search takes beyond the decoder's own `append`."""
    from vitrify.runtime.generation.config import GenerationConfig
    from vitrify.runtime.generation.loop import generate

    try:
        folder = found.bundles.folder("cpu-w4")
    except BackendError:
        return {}
    decoding, spent = load_bundle(folder, profile="cpu-w4").decoding(), []
    append = decoding.append

    def timed(*arguments: Any, **options: Any) -> np.ndarray:
        start = time.perf_counter()
        made = append(*arguments, **options)
        spent.append(time.perf_counter() - start)
        return made

    vars(decoding)["append"] = timed
    start = time.perf_counter()
    generate(decoding, [np.arange(300, 320)], GenerationConfig(max_new_tokens=NEW, eos_token_id=[2]))
    return {"overhead_microseconds": {"per step": 1e6 * (time.perf_counter() - start - sum(spent)) / len(spent)}}
