"""A text that language models are compared on: random tokens are not what quantized weights are judged by."""

import numpy as np

from ...runtime.numerics import Arrays
from ..checkpoint.opened import Checkpoint

# Prose, code and figures, a few hundred tokens with most tokenizers.
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


def text_tokens(checkpoint: Checkpoint, room: int | None = None) -> np.ndarray:
    """Return the text's tokens, int64 [1, at most 256], no more than there is room for (default: in the model)."""
    room = int(room or getattr(checkpoint.config, "max_position_embeddings", None) or _MOST)
    return np.array([checkpoint.tokenizer(TEXT)["input_ids"][: min(_MOST, room)]], np.int64)


def text_course(checkpoint: Checkpoint, room: int | None) -> Arrays:
    """Return the text's tokens as a comparison: one row, of which every token after the first is a step.

    `input_ids`, `starts` and `chunks` are as teachers read them.
    """
    row = text_tokens(checkpoint, room)
    return {"input_ids": row, "starts": np.zeros(1, np.int64), "chunks": np.array([1, row.shape[1] - 1], np.int64)}
