"""Encoders of true size through every CPU profile, beside PyTorch and the other ways to run their weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vitrify import load_bundle, pipeline
from vitrify.bench.interleaved import Runner
from vitrify.bench.process import BackendError

from .artifacts import Bundles, export_bundles, make_for_peer, tuned_bundle
from .beside import AUTO, Work, measure_works
from .checkpoints import bert_base, minilm, vit_base
from .peers.environments import find_peer
from .texts import TEXTS

PROFILES = ("cpu-fp32", "cpu-fp32-openvino", "cpu-int8", "cpu-bf16", "cpu-int8-static", "cpu-int8-bf16")
# What `auto` may choose from: int8 of these models stays below; what that means stands in the rows of drift and cosine.
MAX_DRIFT = 0.15
# Beyond what int8 may do to a few values, and below what another model would.
_ANOTHER_MODEL = 0.5
# The first run of a compiled model compiles it.
_LIMIT, _FEW = 300.0, 10
# How many runs a turn makes: those of one text or image are short beside what else a shared machine does.
_CALLS = {"1 x 16": 10, "1 x 128": 5, "1 image": 3}


@dataclass(frozen=True)
class Encoder:
    """A model to measure: what writes its checkpoint, its task as optimum calls it, what each work feeds it."""

    name: str
    write: Callable[[Path], Path]
    task: str
    works: Mapping[str, Mapping[str, Any]]

    @property
    def key(self) -> str:
        """What its files are called."""
        return self.name.lower()


def measure(scratch: Path, *, rounds: int) -> dict[str, Any]:
    """Return for each model the seconds of each way and its profiles' drift, the sizes, and agreement on sentences."""
    found: dict[str, Any] = {"models": {}, "versions": {}, "agreement": _agreement(), "max_drift": MAX_DRIFT}
    for encoder in _encoders():
        checkpoint = encoder.write(scratch / encoder.key)
        bundles = export_bundles(encoder.key, checkpoint, PROFILES)
        result = measure_works(_works(encoder, rounds), _ways(encoder, checkpoint, bundles), rounds=rounds)
        found["versions"] |= result.pop("versions")
        found["models"][encoder.name] = {**result, "drift": _drift(bundles), "sizes": _sizes(checkpoint, bundles)}
        if "interrupted" in result:
            return {**found, "interrupted": f"{encoder.name} {result['interrupted']}"}
    return found


def _encoders() -> list[Encoder]:
    draw = np.random.default_rng(0)
    texts = {f"{batch} x {length}": (batch, length) for batch, length in ((1, 16), (1, 128), (8, 128))}
    ids = {name: {"ids": draw.integers(1000, 30000, shape).tolist()} for name, shape in texts.items()}
    images = {f"{count} image{'s' * (count > 1)}": {"images": count} for count in (1, 8)}
    return [
        Encoder("BERT-base", bert_base, "feature-extraction", ids),
        Encoder("ViT-base", vit_base, "image-classification", images),
    ]


def _works(encoder: Encoder, rounds: int) -> list[Work]:
    """Return the works; those of a batch take long enough to tell in fewer rounds."""
    ways = [way.name for way in _ways(encoder, Path(), Bundles({}, {}, []))]
    return [
        Work(
            name,
            "forward",
            arguments,
            ways,
            judged=compared,
            rounds=min(rounds, _FEW) if name.startswith("8") else None,
            calls=_CALLS.get(name, 1),
            limit=_LIMIT,
        )
        for name, arguments in encoder.works.items()
    ]


def own_ways(bundles: Bundles) -> list[Runner]:
    """Return vitrify's ways: each profile as it is, and `auto` after `vitrify tune`."""
    vitrify = find_peer("vitrify")
    return [
        *(Runner(name, vitrify, name, lambda name=name: str(bundles.folder(name))) for name in PROFILES),
        Runner(AUTO, vitrify, f"auto within {MAX_DRIFT}", lambda: str(tuned_bundle(bundles, max_drift=MAX_DRIFT))),
    ]


def _ways(encoder: Encoder, checkpoint: Path, bundles: Bundles) -> list[Runner]:
    pytorch, bare = map(find_peer, ("pytorch", "onnxruntime"))
    exporter, optimum, openvino = map(find_peer, ("transformers-exporter", "optimum-onnx", "openvino"))

    def made(peer: Any, recipe: str) -> Callable[[], str]:
        return lambda: str(make_for_peer(peer, recipe, checkpoint, name=encoder.key))

    return [
        *own_ways(bundles),
        Runner("PyTorch fp32", pytorch, "fp32", lambda: str(checkpoint)),
        Runner("PyTorch bf16", pytorch, "bf16", lambda: str(checkpoint)),
        Runner("PyTorch compiled", pytorch, "compile", lambda: str(checkpoint)),
        Runner("bare onnxruntime fp32", bare, "fp32", lambda: str(bundles.folder("cpu-fp32") / "onnx" / "model.onnx")),
        Runner("transformers' exporter", exporter, "fp32", made(exporter, "exported")),
        Runner("optimum-onnx", optimum, "fp32", made(optimum, encoder.task)),
        Runner("OpenVINO fp32", openvino, "fp32", made(openvino, encoder.task)),
        Runner("OpenVINO bf16", openvino, "bf16", made(openvino, encoder.task)),
    ]


def compared(made: Sequence[float], reference: Sequence[float] | None) -> dict[str, float]:
    """Return how far a pass's first values are from the reference's, over the largest of them."""
    if reference is None:
        return {}
    largest = max(map(abs, reference))
    difference = max(abs(a - b) for a, b in zip(made, reference, strict=True)) / largest
    if not difference < _ANOTHER_MODEL:
        raise BackendError(f"computes something else: {made[:3]} where the reference has {list(reference[:3])}")
    return {"difference": difference}


def _drift(bundles: Bundles) -> dict[str, float]:
    return {name: item["drift"] for report in bundles.reports for name, item in report["profiles"].items()}


def _agreement() -> dict[str, float]:
    """Return, for each profile, the lowest cosine between its and PyTorch's MiniLM embeddings of real sentences."""
    bundles = export_bundles("minilm", minilm(), PROFILES)
    reference = _embeddings(bundles, "cpu-fp32")
    return {name: float((_embeddings(bundles, name) * reference).sum(1).min()) for name in bundles.folders}


def _embeddings(bundles: Bundles, profile: str) -> np.ndarray:
    extract = pipeline("feature-extraction", load_bundle(bundles.folder(profile), profile=profile))
    pooled = np.stack([states[0].mean(0) for states in extract(iter(TEXTS), return_tensors=True)])
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)


def _sizes(checkpoint: Path, bundles: Bundles) -> dict[str, float]:
    """Return the size of each graph's files over the checkpoint's weights."""
    weights = (checkpoint / "model.safetensors").stat().st_size
    folders = {Path(folder) / "onnx" for folder in bundles.folders.values()}
    graphs = sorted({path for folder in folders for path in folder.glob("*.onnx")})
    return {
        path.name: sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*")) / weights for path in graphs
    }
