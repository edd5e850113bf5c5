"""What generation returns, and that as one array; it knows nothing of how it was made."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Generated:
    """What generation made.

    Attributes
    ----------
    sequences
        One row after the other, `num_return_sequences` for each prompt: int64 [tokens], the prompt first, an end token
        included, no padding.
    prompt_lengths
        How many tokens of each sequence are its prompt.
    scores, logits
        With `output_scores` and `output_logits`: for every step float32 [rows, vocabulary], of every beam where there
        are beams: what the next token is chosen by, and what the decoder gave. A row that was finished has NaN.
    sequences_scores
        With beams: float32 [sequences], the mean log probability of a sequence, with the length penalty.
    logprobs
        Where asked for: for every sequence the log probability of each of its new tokens, float32 [tokens], among
        those that the rules allow; temperature, top-k and the like come after.
    held
        The ids that the decoder holds now, where there was one row and no beams.

    """

    sequences: list[np.ndarray]
    prompt_lengths: list[int]
    scores: list[np.ndarray] | None = None
    logits: list[np.ndarray] | None = None
    sequences_scores: np.ndarray | None = None
    logprobs: list[np.ndarray] | None = None
    held: np.ndarray | None = None


def padded(generated: Generated, pad_token_id: int) -> np.ndarray:
    """Return sequences as one array, int64 [sequences, tokens]: short prompts are padded before, answers after."""
    prompt = max(generated.prompt_lengths)
    offsets = [prompt - length for length in generated.prompt_lengths]
    rows = list(zip(offsets, generated.sequences, strict=True))
    found = np.full((len(rows), max(offset + len(row) for offset, row in rows)), pad_token_id, np.int64)
    for index, (offset, row) in enumerate(rows):
        found[index, offset : offset + len(row)] = row
    return found
