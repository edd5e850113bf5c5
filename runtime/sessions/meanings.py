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
_LONGEST_REASON = 300


def failed(graph: str, feeds: Mapping[str, Value]) -> str:
    """Return what failed: a graph on feeds, of which the arrays' shapes are told."""
    sizes = ((name, value) for name, value in feeds.items() if isinstance(value, np.ndarray))
    return f"graph '{graph}' failed on {', '.join(f'{name} {list(array.shape)}' for name, array in sizes)}"


def explained(what: str, error: Exception, meanings: Meanings, *, path: Path | None = None) -> VitrifyError:
    """Return the error that says what a backend's means here."""
    said = " ".join(str(error).split())
    if path is not None:
        said = said.replace(str(path), path.name)  # a folder's name must not decide what the message means
    kind, meaning = next((kind, meaning) for sign, kind, meaning in meanings if sign in said.lower())
    return kind(f"{what}: {meaning} ({_NOISE.sub('', said)[:_LONGEST_REASON]})")
