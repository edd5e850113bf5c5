"""docs/tasks.md: every task with its input, arguments, result and an example; `python -m tests.tasks_page` writes it.

Names, types and defaults are read from the pipelines; what the code does not say is in tasks_page.toml.
"""

import dataclasses
import inspect
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_overloads, get_type_hints, is_typeddict

from tests.imports import ROOT
from vitrify import pipeline
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.whisper.prompt import TranscriptionOptions
from vitrify.runtime.pipelines.classes import pipeline_class
from vitrify.runtime.pipelines.shared.base import Parameters
from vitrify.runtime.pipelines.shared.generation import GenerationParameters
from vitrify.runtime.pipelines.shared.text import TokenizerParameters
from vitrify.runtime.pipelines.speech.parameters import RecognitionParameters
from vitrify.runtime.pipelines.speech.whisper import WhisperParameters
from vitrify.runtime.tasks import TASKS, Task

PAGE = ROOT / "docs" / "tasks.md"
TEXT = tomllib.loads((ROOT / "tests" / "tasks_page.toml").read_text(encoding="utf-8"))
SPEECH = "automatic-speech-recognition"
_HEAD = ("argument", "type", "default", "meaning")


def page() -> str:
    """Return the text of docs/tasks.md."""
    parts = [
        TEXT["head"],
        _list([(f"[`{task.name}`](#{task.name})", task.summary, f"`{task.default[0]}`") for task in TASKS]),
        TEXT["call"],
        *(_section(task) for task in TASKS),
        TEXT["tokenizer_head"],
        _table(_HEAD, [_row(each, TEXT["arguments"]) for each in dataclasses.fields(TokenizerParameters)]),
        TEXT["generation_head"],
        _table(("argument", "type", "meaning"), list(_generation())),
        TEXT["unsupported_head"],
        ", ".join(f"`{name}`" for name in TEXT["unsupported"]) + ".\n",
        TEXT["pipeline_head"],
        _table(("argument", "default", "meaning"), list(_of_pipeline())),
    ]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def parameters_of(task: Task) -> type[Parameters]:
    """Return the class of a task's arguments; those of all kinds of speech recognition are one class's fields."""
    return RecognitionParameters if task.name == SPEECH else pipeline_class(task).parameters


def own_fields(task: Task) -> list[Any]:
    """Return the arguments that a task's section lists: neither the tokenizer's nor generation's, if it has these."""
    parameters = parameters_of(task)
    shared = {"generation"} if issubclass(parameters, GenerationParameters) else set()
    shared |= set(TokenizerParameters.names()) if issubclass(parameters, TokenizerParameters) else set()
    return [each for each in dataclasses.fields(parameters) if each.name not in shared]


def _section(task: Task) -> str:
    said, cls = TEXT["tasks"][task.name], pipeline_class(task)
    meanings = {**TEXT["arguments"], **said.get("arguments", {})}
    aliases = "".join(f" Alias: `{alias}`." for alias in task.aliases)
    named = f" By name: `{cls.input_name}=`." if cls.input_name else ""
    parts = [
        f"## {task.name}\n",
        f"{task.summary[0].upper()}{task.summary[1:]}.{aliases} Default checkpoint: `{task.default[0]}`.\n",
        f"**Input.** {said['input']}{named}\n",
        _table(_HEAD, [_row(each, meanings) for each in own_fields(task)]),
        *_shared(task),
        f"**Result.** {said['result']}{_fields_of(record_of(cls))}\n",
        f"```python\nfrom vitrify import pipeline\n\n{said['example'].strip()}\n```\n",
        f"```text\n{said['printed'].strip()}\n```\n",
    ]
    return "\n".join(parts)


def _shared(task: Task) -> Iterator[str]:
    parameters = parameters_of(task)
    if issubclass(parameters, TokenizerParameters):
        yield "Also the [arguments of the tokenizer](#arguments-of-the-tokenizer).\n"
    if set(parameters.names()) > set(GenerationConfig.names()):
        defaults = getattr(pipeline_class(task), "defaults", {})
        shown = ", ".join(f"`{name}={value}`" for name, value in defaults.items())
        shown = f"; defaults: {shown}" if shown else ""
        yield f"Also the [arguments of generation](#arguments-of-generation){shown}.\n"
    if task.name == SPEECH:
        own = {each.name: each for each in dataclasses.fields(TranscriptionOptions)}
        rows = [_row(own[name], TEXT["whisper"]) for name in WhisperParameters.beside]
        yield f"{TEXT['whisper_head'].strip()}\n\n{_table(_HEAD, rows)}"


def record_of(cls: type) -> Any:
    """Return the TypedDict of a task's results, None where they are arrays or lists of numbers."""
    made = [base for each in cls.__mro__ for base in getattr(each, "__orig_bases__", ())]
    called = [each.__annotations__["return"] for each in get_overloads(cls.__call__)]
    return next((found for each in (*made, *called) for found in _records(each)), None)


def _records(annotation: Any) -> Iterator[Any]:
    if is_typeddict(annotation):
        yield annotation
    for each in get_args(annotation):
        yield from _records(each)


def _fields_of(record: Any) -> str:
    if record is None:
        return ""
    hints = get_type_hints(record)
    fields = (f"`{name}` ({_type(hints[name])}{', optional' * (name in record.__optional_keys__)})" for name in hints)
    return f" Fields: {', '.join(fields)}."


def _generation() -> Iterator[tuple[str, ...]]:
    types = {each.name: _type(each.type) for each in dataclasses.fields(GenerationConfig)}
    for name, meaning in TEXT["generation"].items():
        yield f"`{name}`", types.get(name, ""), meaning


def _of_pipeline() -> Iterator[tuple[str, ...]]:
    for name, each in inspect.signature(pipeline).parameters.items():
        if name != "options":
            yield f"`{name}`", _shown(each.default), TEXT["pipeline"][name]


def _row(each: Any, meanings: Mapping[str, str]) -> tuple[str, ...]:
    default = each.default if each.default_factory is dataclasses.MISSING else each.default_factory()
    return f"`{each.name}`", _type(each.type), _shown(default), meanings[each.name].replace("|", "\\|")


def _shown(default: Any) -> str:
    return f"`{getattr(default, 'name', default)!r}`"


def _type(annotation: Any) -> str:
    names = [_name(each) for each in _members(annotation) if each is not type(None)]
    return " or ".join(dict.fromkeys(names))


def _members(annotation: Any) -> Sequence[Any]:
    union = isinstance(annotation, type(int | str)) or getattr(annotation, "__origin__", None) is Union
    return get_args(annotation) if union else (annotation,)


def _name(annotation: Any) -> str:
    text = inspect.formatannotation(annotation)
    for prefix in ("collections.abc.", "numpy.", "typing."):
        text = text.replace(prefix, "")
    return text.replace("|", "or")


def _list(rows: list[tuple[str, ...]]) -> str:
    return _table(("task", "what it does", "default checkpoint"), rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
