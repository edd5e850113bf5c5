"""Whether two ways did the same work: as many tokens as were asked for, and how far they are those of the reference."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vitrify.bench.process import BackendError


def same_tokens(rows: int, new: int) -> Callable[[Any, Any], dict[str, Any]]:
    """Return what judges rows of `new` tokens each."""
    return partial(_judged_tokens, [new] * rows)


def _judged_tokens(wanted: list[int], made: Sequence[Sequence[int]], reference: Any) -> dict[str, Any]:
    """Return how many tokens there are, and how many are the reference's before the first other one in each row."""
    lengths = [len(row) for row in made]
    if lengths != wanted:
        raise BackendError(f"wrote {lengths} tokens where {wanted} were asked for")
    if reference is None:
        return {"tokens": sum(lengths)}
    return {"tokens": sum(lengths), "as_reference": sum(map(_common, made, reference))}


def _common(row: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(row, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(row), len(other)))


def same_words(made: str, reference: str | None) -> dict[str, Any]:
    """Return a transcript's words, and the share of words that are wrong by the reference."""
    found = _words(made)
    if not found:
        raise BackendError("heard no words")
    kept = {"words": len(found), "begins": " ".join(made.split()[:12])}
    return kept if reference is None else {**kept, "word_errors": word_errors(found, _words(reference))}


def word_errors(found: Sequence[str], expected: Sequence[str]) -> float:
    """Return the word error rate: the fewest words to change, add or leave out, over those expected."""
    row = list(range(len(expected) + 1))
    for count, word in enumerate(found, start=1):
        before, row[0] = row[0], count
        for index, other in enumerate(expected, start=1):
            before, row[index] = row[index], min(row[index] + 1, row[index - 1] + 1, before + (word != other))
    return row[-1] / max(1, len(expected))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())
