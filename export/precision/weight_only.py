"""Low-bit weights: quantize a decoder's graph, measure what that does to its answers, and mend what broke them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir

from ...profiles import Profile
from ...runtime.graphs.families import FAMILIES
from ...runtime.numerics import Arrays
from ...runtime.sessions import open_session
from ...runtime.sessions.model import Model
from ...runtime.verification.quality import Quality, QualityGate, measure_quality
from ...runtime.verification.replay import replayed
from ..passes import lists
from ..passes.precision.quantize_weights import quantizable
from ..passes.running import passes_of, run_passes
from ..saving import save_quantized
from .quality import nodes_to_keep


@dataclass(frozen=True)
class LowBit:
    """What was written: how much the graph still says the same, and the passes that it went through."""

    quality: Quality
    passes: tuple[str, ...]


def quantize(text: Arrays, family: str, graph: str, source: Path, path: Path, target: Profile) -> LowBit:
    """Write the graph at `source` with quantized weights to `path`, judged by what it answers to a `text`.

    A graph that fails the profile's gate is mended layer by layer: 8 bits instead of 4, float32 instead of 8.
    Raises ParityError if a few layers are not enough.
    """
    weights = target.weights
    assert weights is not None
    gate = QualityGate(weights.agreement, weights.divergence)
    packed = run_passes(onnx_ir.load(str(source)), lists.PACKED, name=graph)
    reference = _logits(family, graph, source, target, text)

    def evaluate(kept: frozenset[str]) -> LowBit:
        made = run_passes(packed.clone(), lists.low_bit(weights, kept=kept), name=graph)
        save_quantized(made, path)
        return LowBit(measure_quality(reference, _logits(family, graph, path, target, text)), passes_of(made))

    first = evaluate(frozenset())
    if gate.passes(first.quality):
        return first
    names = quantizable(packed.graph, embeddings=weights.embeddings)
    return evaluate(frozenset(nodes_to_keep(names, lambda kept: evaluate(kept).quality, gate)))


def _logits(family: str, graph: str, path: Path, target: Profile, text: Arrays) -> np.ndarray:
    """Return the logits after every token of the text, float32 [tokens, vocabulary]."""
    with open_session(path, provider=target.provider, options=target.options) as session:
        (model,) = replayed(FAMILIES[family], {graph: Model(session, {})})
        return model(**text)["logits"]
