"""Measure how many tokens a mask lets each token see: masks are computed, not recognized.

1. One token's row of the mask, at three positions, must show that token and those right before it, and hide the rest.
2. A block of several tokens must be causal.
3. The number seen is the same at every position, or ends with the first token.
"""

import numpy as np
import onnx_ir

from ..running import Refusal
from .evaluate import evaluate

# What a mask adds to the scores of tokens that it hides is below this.
_HIDDEN = -1e4


def visible_tokens(graph: onnx_ir.Model, mask: onnx_ir.Value | None, positions: int) -> int:
    """Return how many tokens a mask lets a token see, itself among them, or -1 for all before it."""
    if mask is None:
        raise Refusal("attention without a mask is not causal")
    seen, pasts = [], (positions - 1, positions // 2, 0)
    for past in pasts:
        row = _additive(evaluate(graph, mask, tokens=1, past=past))[0, 0, 0]
        if row.shape != (past + 1,) or (row[row > _HIDDEN] != 0).any():
            raise Refusal("the mask weighs tokens by their distance")
        visible = row == 0
        count = int(visible.sum())
        if not visible[past + 1 - count :].all():
            raise Refusal("the mask lets through something else than the last tokens")
        seen.append(count)
    block = _additive(evaluate(graph, mask, tokens=4, past=0))[0, 0] == 0
    if np.triu(block, 1).any() or not block.diagonal().all():
        raise Refusal("the mask is not causal")
    window = seen[0]
    if seen != [min(window, past + 1) for past in pasts]:
        raise Refusal("the mask's window changes with the position")
    return -1 if window == positions else window


def _additive(mask: np.ndarray) -> np.ndarray:
    """Return a mask as what is added to scores."""
    return np.where(mask, 0.0, -np.inf) if mask.dtype == bool else mask
