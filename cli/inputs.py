"""The command line's inputs: a text, a file's path, a URL or JSON becomes what a pipeline takes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..runtime.errors import UsageError
from ..runtime.pipelines import find_task


def read_inputs(task: str, words: Sequence[str], lines: Iterable[str]) -> Iterator[Any]:
    """Yield one input for each word, or for each line that is not empty when there are no words."""
    kind = find_task(task).inputs
    for word in words or (line.rstrip("\n") for line in lines if line.strip()):
        yield _read(kind, word)


def read_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that `name=JSON` words give; a value that is no JSON is a text."""
    parameters = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"--param takes name=JSON, got '{word}' (example: --param top_k=3)")
        parameters[name] = _json_or_text(value)
    return parameters


def _read(kind: str, word: str) -> Any:
    if word.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(word)
        except ValueError:
            return word
    return _text(word) if kind == "text" else word


def _text(word: str) -> str:
    """Return the content of the file that `word` names, or the word itself."""
    try:
        path = Path(word)
        if not path.is_file():
            return word
        content = path.read_bytes()
    except (OSError, ValueError):
        return word  # too long, or with a NUL: no path
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"'{word}' is not UTF-8 text (byte {error.start}): convert it first") from error
    if not text.strip():
        raise UsageError(f"'{word}' is empty: give a file with text")
    return text.rstrip("\n")


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value
