"""The command line's inputs: a text, a file's path, a URL or JSON becomes what a pipeline takes."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..runtime.errors import UsageError
from ..runtime.rows.lines import read_lines
from ..runtime.rows.record import InputRow
from ..runtime.tasks import find_task

# Arguments of pipeline() that are options of `vitrify run`.
_OPTIONS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("model", "profile", "batch_size", "threads", "revision", "trust_remote_code", "allow_pickle", "max_drift"),
    )
}
# Whisper's; pipeline() has an argument of its own by that name.
_OF_CALLS = {"task"}
_CONSTANTS = {"None": None, "True": True, "False": False}


def read_words(task: str, words: Sequence[str], *, as_texts: bool = False) -> Iterator[InputRow]:
    """Yield one input for each word; for a text, a word may be the name of a file. With `as_texts` it is a text."""
    kind = find_task(task).inputs
    read = str if as_texts else lambda word: _json_or(word, _text if kind == "text" else str)
    for number, word in enumerate(words, 1):
        where = f"input {number}" if len(words) > 1 else ""
        try:
            yield InputRow(number, read(word), where, share=number / len(words))
        except UsageError as error:
            yield InputRow(number, where=where, error=error)


def read_stdin(task: str, stdin: Iterable[bytes] | None, *, as_texts: bool = False) -> Iterator[InputRow]:
    """Yield one input for each line of stdin (None: closed).

    A line never names a file for a text, as it may come from someone who may not read files. Raises UsageError where
    there is no line, or stdin cannot be read.
    """
    kind, number = find_task(task).inputs, 0
    try:
        for number, text, error, _ in read_lines(stdin or (), "stdin"):
            where = f"stdin line {number}"
            if error is None and kind != "text" and not text.strip():
                error = UsageError(f"{where} is empty: '{task}' expects a path, a URL or JSON on each line")  # noqa: PLW2901
            value = None if error else text if as_texts else _json_or(text, str)
            yield InputRow(number, value, where, error=error)
    except OSError as error:
        raise UsageError(f"stdin cannot be read: {error.strerror or error}") from error
    if not number:
        raise UsageError("no inputs: pass them as arguments, with --input, or as lines on stdin")


def read_parameters(words: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments that `name=JSON` words give, and apart those that a pipeline accepts per call only.

    A value that is not JSON is one of Python's constants, or a text. Raises UsageError for an argument that is an
    option of the command.
    """
    parameters: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"--param expects name=JSON, got '{word}' (example: --param top_k=3)")
        if name in _OPTIONS:
            raise UsageError(f"--param {name}: use {_OPTIONS[name]}")
        if name in parameters:
            raise UsageError(f"--param {name} is given twice: keep one")
        parameters[name] = _value(value)
    return parameters, {name: parameters.pop(name) for name in _OF_CALLS & set(parameters)}


def _json_or(word: str, read: Callable[[str], Any]) -> Any:
    """Return what JSON says, or what `read` makes of a word that is not an object or a list."""
    if word.lstrip()[:1] in {"{", "["}:
        try:
            return json.loads(word)
        except (ValueError, RecursionError):
            return word
    return read(word)


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
        raise UsageError(f"'{word}' is empty: pass a file with text")
    return text.rstrip("\n")


def _value(text: str) -> Any:
    try:
        return _CONSTANTS[text] if text in _CONSTANTS else json.loads(text)
    except (ValueError, RecursionError):
        return text
