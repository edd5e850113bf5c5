"""Token healing: the last token of a prompt is chosen again among those that begin with its text.

A prompt that ends inside a word ends with a token that a longer one might have swallowed. The biases are those of
transformers 5.23, which also cuts white space off the end of a prompt; here a prompt keeps its length.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import UsageError
from ..base import Decoding

_LONGER, _SAME = 10.0, 11.0


def heal(decoding: Decoding, prompts: Sequence[np.ndarray], tokenizer: Any) -> list[np.ndarray]:
    """Return the prompts with healed ends; `decoding` is a fresh one, and used up.

    `tokenizer` has `get_vocab() -> dict[str, int]`. Prompts of one token stay as they are.
    """
    if tokenizer is None:
        raise UsageError("token_healing needs the tokenizer: pass tokenizer=")
    vocabulary = {token: index for token, index in tokenizer.get_vocab().items() if index < decoding.vocabulary}
    choices = [_choices(int(prompt[-1]), vocabulary) if len(prompt) > 1 else [] for prompt in prompts]
    healed = list(prompts)
    rows = [row for row, chosen in enumerate(choices) if len(chosen) > 1]
    if not rows:
        return healed
    decoding.select(np.array(rows))
    logits = decoding.append([prompts[row][:-1] for row in rows])[:, -1]
    for row, scores in zip(rows, logits, strict=True):
        scores[choices[row]] += _LONGER
        scores[prompts[row][-1]] += _SAME - _LONGER
        healed[row] = np.append(prompts[row][:-1], scores.argmax())
    return healed


def _choices(last: int, vocabulary: Mapping[str, int]) -> list[int]:
    """Return the tokens that begin as `last` does."""
    start = next((token for token, index in vocabulary.items() if index == last), None)
    return [] if start is None else [index for token, index in vocabulary.items() if token.startswith(start)]
