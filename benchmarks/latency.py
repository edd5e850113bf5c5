"""BERT-base at 1 x 128 through every CPU profile, beside PyTorch and a bare ONNX Runtime session, interleaved."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModel

from vitrify import export_bundle, load_bundle
from vitrify.bench.figures import ratio, spread
from vitrify.runtime.machine import this_machine
from vitrify.runtime.pipelines import find_task

from .checkpoints import bert_base, minilm
from .measure import interleaved
from .texts import TEXTS

BATCH, LENGTH = 1, 128


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return milliseconds of each path, ratios of the same rounds, and each profile's agreement with float32."""
    checkpoint = bert_base(scratch / "bert-base")
    report = export_bundle(checkpoint, scratch / "bert", profiles=["auto"])
    runs = {**_pytorch(checkpoint), **_sessions(report.folder)}
    samples = interleaved(runs, rounds=rounds)
    profiles = list(report.bundle.builds)
    return {
        "what": f"BERT-base, seeded weights, batch {BATCH} x {LENGTH}",
        "milliseconds": {name: spread([1000 * value for value in values]) for name, values in samples.items()},
        "ratios": {
            f"{peer} / {profile}": ratio(samples[peer], samples[profile])
            for profile in profiles
            for peer in ("PyTorch fp32", "PyTorch bf16", "bare onnxruntime fp32")
        },
        "drift": {name: item["drift"] for name, item in report.profiles.items()},
        "agreement": _agreement(scratch, profiles),
        "sizes": _sizes(checkpoint, report.folder),
    }


def _feeds() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1000, 30000, (BATCH, LENGTH))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _pytorch(checkpoint: Path) -> dict[str, Callable[[], object]]:
    torch.set_num_threads(this_machine().cores)
    feeds = {name: torch.from_numpy(value) for name, value in _feeds().items()}

    def runner(dtype: torch.dtype) -> Callable[[], object]:
        model = AutoModel.from_pretrained(checkpoint, dtype=dtype).eval()

        def run() -> object:
            with torch.inference_mode():
                return model(**feeds)

        return run

    return {"PyTorch fp32": runner(torch.float32), "PyTorch bf16": runner(torch.bfloat16)}


def _sessions(folder: Path) -> dict[str, Callable[[], object]]:
    feeds = _feeds()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = this_machine().cores
    bare = onnxruntime.InferenceSession(str(folder / "onnx/model.onnx"), options)
    runs: dict[str, Callable[[], object]] = {"bare onnxruntime fp32": lambda: bare.run(None, feeds)}
    for profile in load_bundle(folder).manifest.builds:
        model = load_bundle(folder, profile=profile).model
        runs[profile] = lambda model=model: model(**feeds)
    return runs


def _agreement(scratch: Path, profiles: list[str]) -> dict[str, float]:
    """Return, for each profile, the lowest cosine between its and PyTorch's MiniLM embeddings of real sentences."""
    export_bundle(minilm(), scratch / "minilm-all", profiles=profiles)
    reference = _embeddings(scratch / "minilm-all", "cpu-fp32")
    return {name: float((_embeddings(scratch / "minilm-all", name) * reference).sum(1).min()) for name in profiles}


def _embeddings(folder: Path, profile: str) -> np.ndarray:
    extract = find_task("feature-extraction").pipeline_class()(
        load_bundle(folder, profile=profile), task="feature-extraction"
    )
    pooled = np.stack([states[0].mean(0) for states in extract(list(TEXTS), return_tensors=True)])
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def _sizes(checkpoint: Path, folder: Path) -> dict[str, float]:
    """Return the size of each graph's files over the checkpoint's weights."""
    weights = (checkpoint / "model.safetensors").stat().st_size
    graphs = sorted(path.name for path in (folder / "onnx").glob("*.onnx"))
    return {name: sum(path.stat().st_size for path in (folder / "onnx").glob(f"{name}*")) / weights for name in graphs}
