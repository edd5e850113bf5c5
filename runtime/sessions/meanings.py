"""What a backend's errors mean here: rows of what it says, our error, and what to do."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import EnvironmentMissing, IntegrityError, UsageError, VitrifyError
from .base import Value

# What a backend says, in lower case, and what that means here; the first row that is found counts.
Meaning = tuple[str, type[VitrifyError], str]
Meanings = tuple[Meaning, ...]
_SMALL = "too little memory; use a machine with more, a smaller batch or shorter inputs"
MEMORY: Meanings = tuple(
    (said, EnvironmentMissing, _SMALL) for said in ("failed to allocate", "bad_alloc", "out of memory")
)
# Whatever else it says: while a graph is loaded, and while it runs.
BROKEN: Meaning = ("", IntegrityError, "the file is broken or incomplete; export or copy the bundle again")
UNFIT: Meaning = ("", UsageError, "the graph cannot work on these inputs")
# Codes of ONNX Runtime, and places in OpenVINO's source.
_NOISE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : *|(Exception from|Check '[^']*' failed at) \S+:\d+: *")
_PLACE = re.compile(r"[^\s:]*\.(?:cc|cpp|cu|cuh|h|hpp):\d+ ")
_FUNCTION = re.compile(r"[^()]*?[\w>]\(|\w+ ")  # as C++ writes it, up to its arguments, or its name alone
_AFTER = re.compile(r"(?: const)?(?: \[with [^\]]*\])?(?: \S.{0,200}? was false\.(?= \S))? *")
_LONGEST_REASON = 300
# ONNX Runtime's Gather, and its sums of a text's tokens and a table's rows.
_OUTSIDE = re.compile(r"idx=(\d+) must be within the inclusive range \[-\d+,(\d+)\]")
_UNEQUAL = re.compile(r"dimension other than 1\. (\d+) by (\d+)")


def failed(graph: str, feeds: Mapping[str, Value]) -> str:
    """Return what failed: a graph on feeds, of which the arrays' shapes are told."""
    sizes = ((name, value) for name, value in feeds.items() if isinstance(value, np.ndarray))
    return f"graph '{graph}' failed on {', '.join(f'{name} {list(array.shape)}' for name, array in sizes)}"


def outside_table(graph: str, feeds: Mapping[str, Value], error: Exception) -> UsageError | None:
    """Return what it means that a table has too few rows: an id beyond it, or a text longer than its positions."""
    tokens = {
        name: value
        for name, value in feeds.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.ndim == 2 and value.size
    }
    longest = max((values.shape[1] for values in tokens.values()), default=0)
    if (unequal := _UNEQUAL.search(str(error))) and longest in (sizes := [*map(int, unequal.groups())]):
        return _too_long(graph, longest, min(sizes)) if min(sizes) < longest else None
    if (outside := _OUTSIDE.search(str(error))) is None:
        return None
    index, rows = int(outside[1]), int(outside[2]) + 1
    for name, values in tokens.items():
        if index in values:
            return UsageError(
                f"graph '{graph}': {name} contains {index}, and the model's table has {rows} rows (0 to {rows - 1}): "
                "the tokenizer, or what made these numbers, is another model's"
            )
    # Tables of positions may begin with two rows that no token uses (RoBERTa, BART).
    return _too_long(graph, longest, max(rows - 2, 1)) if longest > rows - 2 else None


def _too_long(graph: str, tokens: int, limit: int) -> UsageError:
    return UsageError(
        f"graph '{graph}': {tokens} tokens are more than this model has positions. Shorten the text, or set the "
        f"tokenizer's model_max_length to {limit} and pass truncation=True"
    )


def explained(what: str, error: Exception, meanings: Meanings, *, path: Path | None = None) -> VitrifyError:
    """Return the error that says what a backend's means here."""
    said = " ".join(str(error).split())
    if path is not None:
        said = said.replace(str(path), path.name)  # a folder's name must not decide what the message means
    kind, meaning = next((kind, meaning) for sign, kind, meaning in meanings if sign in said.lower())
    return kind(f"{what}: {meaning} ({_without_places(_NOISE.sub('', said))[:_LONGEST_REASON]})")


def _without_places(said: str) -> str:
    """Return a message without where in a runtime's source it was raised, which fills lines and says nothing here."""
    while place := _PLACE.search(said):
        start = place.end()
        function = _FUNCTION.match(said, start)
        end = start if function is None else function.end()
        if function is not None and function[0].endswith("("):
            end = _AFTER.match(said, _closed(said, end)).end()  # pyright: ignore[reportOptionalMemberAccess]
        said = said[: place.start()] + said[end:]
    return said.strip()


def _closed(said: str, start: int) -> int:
    """Return where the parenthesis that was opened before `start` is closed."""
    open_ones = 1
    for at in range(start, len(said)):
        open_ones += {"(": 1, ")": -1}.get(said[at], 0)
        if not open_ones:
            return at + 1
    return len(said)
