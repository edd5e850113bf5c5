"""Low-bit weights: quantize a decoder's graph, measure what that does to its answers, and mend what broke them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir

from ...profiles import Profile
from ...runtime.graphs.families import FAMILIES
from ...runtime.sessions import open_session
from ...runtime.sessions.model import Model
from ...runtime.verification.replay import replayed
from ..checkpoint.limits import positions_of
from ..checkpoint.opened import Checkpoint
from ..passes import lists
from ..passes.precision.quantize_weights import quantizable
from ..passes.running import passes_of, run_passes
from ..saving import save_quantized
from .quality import Quality, QualityGate, measure_quality, nodes_to_keep

# What the gate reads: prose, code and figures, a few hundred tokens with most tokenizers.
TEXT = """The lighthouse keeper rose before dawn, lit the stove, and wrote the wind into his book: north-west, four.
In 1887 the same book had recorded 212 days of fog. He liked to read those entries aloud to his daughter, who was
nine and wanted to know why the sea was salt, why gulls never slept, and whether the moon pulled at people as it
pulled at water. "Rivers carry a little salt down from the hills," he said, "and the sun takes back only the water."

def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)

Three apples cost 2.40 euros, so five cost 4.00 euros. Water boils at 100 degrees Celsius at sea level, and at about
90 degrees on a mountain of 3,000 metres, because the air above it weighs less. To make tea there, wait a little.
"""
_MOST = 256


@dataclass(frozen=True)
class LowBit:
    """What was written: how much the graph still says the same, and the passes that it went through."""

    quality: Quality
    passes: tuple[str, ...]


def quantize(checkpoint: Checkpoint, family: str, graph: str, source: Path, path: Path, target: Profile) -> LowBit:
    """Write the graph at `source` with quantized weights to `path`.

    A graph that fails the profile's gate is mended layer by layer: 8 bits instead of 4, float32 instead of 8.
    Raises ParityError if a few layers are not enough.
    """
    weights = target.weights
    assert weights is not None
    gate = QualityGate(weights.agreement, weights.divergence)
    ids = text_tokens(checkpoint)
    packed = run_passes(onnx_ir.load(str(source)), lists.PACKED, name=graph)
    reference = _logits(family, graph, source, target, ids)

    def evaluate(kept: frozenset[str]) -> LowBit:
        made = run_passes(packed.clone(), lists.low_bit(weights, kept=kept), name=graph)
        save_quantized(made, path)
        return LowBit(measure_quality(reference, _logits(family, graph, path, target, ids)), passes_of(made))

    first = evaluate(frozenset())
    if gate.passes(first.quality):
        return first
    names = quantizable(packed.graph, embeddings=weights.embeddings)
    return evaluate(frozenset(nodes_to_keep(names, lambda kept: evaluate(kept).quality, gate)))


def text_tokens(checkpoint: Checkpoint) -> np.ndarray:
    """Return the text's tokens, int64 [1, at most 256]; fewer where the model has no room for them."""
    ids = checkpoint.tokenizer(TEXT)["input_ids"]
    room = positions_of(checkpoint.config) or _MOST
    return np.array([ids[: min(_MOST, room)]], np.int64)


def _logits(family: str, graph: str, path: Path, target: Profile, ids: np.ndarray) -> np.ndarray:
    """Return the logits after every token but the first few, float32 [tokens, vocabulary]."""
    with open_session(path, provider=target.provider, options=target.options) as session:
        (model,) = replayed(FAMILIES[family], {graph: Model(session, {})})
        chunks = np.array([1, ids.shape[1] - 1], np.int64)
        return model(input_ids=ids, starts=np.zeros(1, np.int64), chunks=chunks)["logits"]
