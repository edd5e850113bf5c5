"""Token ids as the rows that generation begins with: from what a caller gives, checked, and begun where empty."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UsageError


def token_rows(ids: Any) -> list[np.ndarray]:
    """Return one row of token ids, or several of any lengths, as rows, int64."""
    rows = ids if isinstance(ids, (list, tuple)) and ids and np.ndim(ids[0]) else np.atleast_2d(np.asarray(ids))
    return [np.atleast_1d(np.asarray(row, np.int64)) for row in rows]


def rows_of(input_ids: Any, attention_mask: Any = None, *, pad: int | None = None) -> list[np.ndarray]:
    """Return the rows of padded arrays [rows, tokens] without their padding: where the mask is 0, or is `pad`."""
    ids = _ids(input_ids, "input_ids")
    if attention_mask is None:
        mask = np.ones_like(ids) if pad is None else ids != pad
    else:
        mask = _ids(attention_mask, "attention_mask")
    if mask.shape != ids.shape:
        raise UsageError(f"attention_mask is {list(mask.shape)}, input_ids {list(ids.shape)}: use one shape")
    return [row[kept.astype(bool)] for row, kept in zip(ids, mask, strict=True)]


def _ids(given: Any, name: str) -> np.ndarray:
    """Return whole numbers [rows, tokens], int64."""
    try:
        found = np.atleast_2d(np.asarray(given))
    except ValueError as error:
        raise UsageError(
            f"{name} must be one array [rows, tokens]: pad shorter rows, and pass attention_mask"
        ) from error
    if found.ndim != 2 or (found.dtype.kind not in "iub" and found.size):
        raise UsageError(f"{name} must be whole numbers [rows, tokens], got {found.dtype} {list(found.shape)}")
    return found.astype(np.int64)


def first_tokens(token: Any, name: str, rows: int) -> list[np.ndarray]:
    """Return what rows without tokens begin with: one token, or a list of one for each."""
    if token is None:
        raise UsageError(f"a row without tokens needs one to begin with, and the checkpoint names none: pass {name}=")
    tokens = [token] * rows if np.ndim(token) == 0 else list(token)
    if len(tokens) != rows:
        raise UsageError(f"{name} lists {len(tokens)} tokens for {rows} rows: pass one, or one for each")
    return [np.array([first], np.int64) for first in tokens]


def check_ids(rows: Sequence[np.ndarray], vocabulary: Any) -> None:
    """Raise UsageError for an id that is no token, where it is known how many there are."""
    size = vocabulary if isinstance(vocabulary, int) else np.iinfo(np.int64).max
    for index, row in enumerate(rows):
        wrong = row[(row < 0) | (row >= size)]
        if len(wrong):
            raise UsageError(
                f"prompt {index} has token {wrong[0]}, but tokens go from 0 to {size - 1}: use the bundle's tokenizer"
            )
