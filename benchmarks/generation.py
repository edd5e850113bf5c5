"""SmolLM2-135M writing through `pipeline()` on each CPU profile, beside PyTorch and the bare steps of its own graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from vitrify import export_bundle, load_bundle, pipeline
from vitrify.runtime.machine import this_machine

from .checkpoints import smollm2
from .measure import interleaved, ratio, spread

PROFILES = ("cpu-fp32", "cpu-w8", "cpu-w4")
NEW, BATCH, PROMPT, LONG = 128, 8, 64, 512
STORY = "Once upon a time, in a small town by the sea, there lived an old lighthouse keeper who"


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return the export's seconds, tokens per second of each path, and ratios of the same rounds."""
    checkpoint = smollm2()
    report = export_bundle(checkpoint, scratch / "smollm2", profiles=PROFILES)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    torch.set_num_threads(this_machine().cores)
    pipes = {name: pipeline("text-generation", report.folder, profile=name) for name in PROFILES}
    work = {
        f"decode, batch 1, {NEW} new tokens": (NEW, _decoding(pipes, model)),
        f"decode, batch {BATCH}, prompts of {PROMPT}, {PROMPT} new tokens": (BATCH * PROMPT, _batches(pipes, model)),
        f"first token after {LONG}": (1, _first_token(pipes, model)),
    }
    return {
        "what": "SmolLM2-135M-Instruct",
        "export_seconds": report.seconds,
        "quality": {name: item.get("quality") for name, item in report.profiles.items()},
        "sizes": _sizes(checkpoint, report.folder),
        "work": {name: _timed(runs, tokens=tokens, rounds=rounds) for name, (tokens, runs) in work.items()},
        "overhead_microseconds": _overhead(report.folder),
    }


def _timed(runs: dict[str, Callable[[], object]], *, tokens: int, rounds: int) -> dict[str, Any]:
    samples = interleaved(runs, rounds=rounds, warmup=1)
    return {
        "seconds": {name: spread(values) for name, values in samples.items()},
        "tokens_per_second": {name: spread([tokens / value for value in values]) for name, values in samples.items()},
        "ratios": {name: ratio(samples["PyTorch fp32"], values) for name, values in samples.items()},
    }


def _decoding(pipes: dict[str, Any], model: Any) -> dict[str, Callable[[], object]]:
    """Return the writing of NEW tokens to a short prompt; the bare steps feed the same graph from a fixed array."""
    options = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False}
    ids = torch.from_numpy(pipes["cpu-fp32"].tokenizer(STORY)["input_ids"])
    runs: dict[str, Callable[[], object]] = {
        name: lambda pipe=pipe: pipe(STORY, **options) for name, pipe in pipes.items()
    }
    runs |= {f"bare steps {name}": _bare(pipe.bundle, ids.numpy()) for name, pipe in pipes.items()}
    return {**runs, "PyTorch fp32": lambda: model.generate(ids, **options)}


def _bare(bundle: Any, ids: np.ndarray) -> Callable[[], object]:
    """Return a loop over the session alone: prompt, then NEW - 1 tokens that are known beforehand."""

    def run() -> None:
        decoding = bundle.decoding()
        decoding.reserve(ids.shape[1] + NEW)
        decoding.append(ids)
        token = np.array([[300]])
        for _ in range(NEW - 1):
            decoding.append(token)

    return run


def _batches(pipes: dict[str, Any], model: Any) -> dict[str, Callable[[], object]]:
    ids = np.random.default_rng(0).integers(1000, 40000, (BATCH, PROMPT))
    options = {"max_new_tokens": PROMPT, "min_new_tokens": PROMPT, "do_sample": False}
    runs: dict[str, Callable[[], object]] = {
        name: lambda pipe=pipe: pipe.bundle.generate(ids, **options) for name, pipe in pipes.items()
    }
    given = torch.from_numpy(ids)
    return {**runs, "PyTorch fp32": lambda: model.generate(given, attention_mask=torch.ones_like(given), **options)}


def _first_token(pipes: dict[str, Any], model: Any) -> dict[str, Callable[[], object]]:
    ids = np.random.default_rng(0).integers(1000, 40000, (1, LONG))
    given = torch.from_numpy(ids)

    def reference() -> None:
        with torch.inference_mode():
            model(given, logits_to_keep=1)

    runs: dict[str, Callable[[], object]] = {
        name: lambda pipe=pipe: pipe.bundle.decoding().append(ids) for name, pipe in pipes.items()
    }
    return {**runs, "PyTorch fp32": reference}


def _overhead(folder: Path) -> dict[str, float]:
    """Return microseconds a step of greedy search takes beyond the decoder's own `append`."""
    import time

    from vitrify.runtime.generation.config import GenerationConfig
    from vitrify.runtime.generation.loop import generate

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
    return {"per step": 1e6 * (time.perf_counter() - start - sum(spent)) / len(spent)}


def _sizes(checkpoint: Path, folder: Path) -> dict[str, float]:
    """Return the size of each weights file over the checkpoint's weights."""
    weights = (checkpoint / "model.safetensors").stat().st_size
    return {path.name: path.stat().st_size / weights for path in sorted((folder / "onnx").glob("*_data"))}
