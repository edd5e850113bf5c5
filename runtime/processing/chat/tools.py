"""Tools of a chat: a JSON schema as it is, or a Python function, described by its type hints and its docstring.

The schemas are those that transformers derives, for models learned to read them; the docstring is in Google's format.
"""

import inspect
import json
import re
import types
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ...errors import UsageError

Schema = dict[str, Any]

_SCALARS: dict[type, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_PLAIN: dict[Any, Schema] = {kind: {"type": name} for kind, name in _SCALARS.items()}
_PLAIN |= {list: {"type": "array"}, tuple: {"type": "array"}, dict: {"type": "object"}, Any: {}}
_SECTION = re.compile(r"^[ \t]*(Args|Returns|Raises):", re.MULTILINE)
_ARGUMENT = re.compile(r"^([ \t]*)(\w+):[ \t]*")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE)


def tool_schemas(tools: Sequence[Any] | None) -> list[Schema] | None:
    """Return each tool's JSON schema: a dict is one, a function or method is described by `function_schema`."""
    if tools is None:
        return None
    if not isinstance(tools, (list, tuple)):
        raise UsageError(f"tools must be a list of JSON schemas or functions, got {type(tools).__name__}")
    return [tool if isinstance(tool, dict) else function_schema(tool) for tool in tools]


def function_schema(function: Callable[..., Any]) -> Schema:
    """Return `{"type": "function", "function": {"name", "description", "parameters", "return"?}}` of a function.

    UsageError: no docstring, an argument without a type hint or a description, a type that JSON has no word for.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise UsageError(f"a tool is a JSON schema (dict) or a function, got {type(function).__name__}")
    name = getattr(function, "__name__", "operation")
    doc = inspect.getdoc(function)
    if not doc:
        raise UsageError(f"the tool '{name}' has no docstring: describe it and its arguments there")
    sections = _sections(doc)
    described = _described(sections.get("Args", ""))
    hints = _hints(function, name)
    returned = _return_schema(hints.pop("return", inspect.Parameter.empty))
    parameters = _parameters(function, name, hints, described)
    if returned is not None and (text := sections.get("Returns", "").strip()):
        returned["description"] = text
    schema = {"name": name, "description": sections[""].strip(), "parameters": parameters}
    return {"type": "function", "function": schema if returned is None else {**schema, "return": returned}}


def _parameters(function: Callable[..., Any], name: str, hints: Schema, described: dict[str, str]) -> Schema:
    properties, required = {}, []
    for index, (argument, parameter) in enumerate(inspect.signature(function).parameters.items()):
        bare = parameter.annotation is inspect.Parameter.empty
        if index == 0 and argument in {"self", "cls"} and bare:
            continue
        if bare:
            raise UsageError(f"the tool '{name}' needs a type hint for its argument '{argument}'")
        if argument not in described:
            raise UsageError(f"the tool '{name}' needs a description of '{argument}' in its docstring, under 'Args:'")
        properties[argument] = _with_description(_schema(hints[argument]), described[argument], argument)
        if parameter.default is inspect.Parameter.empty:
            required.append(argument)
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except Exception as error:  # a hint may be any expression
        raise UsageError(f"the type hints of the tool '{name}' cannot be read: {error}") from error


def _return_schema(hint: Any) -> Schema | None:
    """Return the schema of what comes back; None where it has none: the model never writes it."""
    if hint is inspect.Parameter.empty:
        return None
    try:
        return _schema(hint)
    except UsageError:
        return None


def _with_description(schema: Schema, text: str, argument: str) -> Schema:
    """Return the schema with its description, whose `(choices: [...])` at the end becomes an enum."""
    if found := _CHOICES.search(text):
        try:
            choices = json.loads(found[1])
        except ValueError:
            raise UsageError(f"the choices of '{argument}' must be a JSON list, got {found[1]!r}") from None
        schema["enum"] = [choice.strip() if isinstance(choice, str) else choice for choice in choices]
        text = text[: found.start()].strip()
    schema["description"] = text
    return schema


def _schema(hint: Any) -> Schema:
    """Return the JSON schema of a type hint."""
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum([member.value for member in hint], hint)
    if origin is None:
        if hint is not Any and (not isinstance(hint, type) or hint not in _PLAIN):
            raise _no_schema(hint)
        return dict(_PLAIN[hint])
    if origin in {Union, types.UnionType}:
        return _union(args)
    if origin is Literal:
        return _enum(list(args), hint)
    if origin is list:
        return {"type": "array"} | ({"items": _schema(args[0])} if args else {})
    if origin is tuple and len(args) != 1 and ... not in args:
        return {"type": "array"} | ({"prefixItems": [_schema(arg) for arg in args]} if args else {})
    if origin is dict:
        return {"type": "object"} | ({"additionalProperties": _schema(args[-1])} if args else {})
    raise _no_schema(hint)


def _union(args: Sequence[Any]) -> Schema:
    kinds = [_schema(arg) for arg in args if arg is not type(None)]
    if len(kinds) == 1:
        schema = kinds[0]
    elif all(set(kind) == {"type"} and isinstance(kind["type"], str) for kind in kinds):
        names = sorted({kind["type"] for kind in kinds})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": kinds}
    return schema | ({"nullable": True} if type(None) in args else {})


def _enum(values: list[Any], hint: Any) -> Schema:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise _no_schema(hint)
    names = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": values}


def _no_schema(hint: Any) -> UsageError:
    return UsageError(
        f"no JSON schema for the type hint {hint!r} (allowed: int, float, str, bool, None, Any, enums and Literal, "
        "list[T], dict[str, T], tuple[A, B] and unions of these). Write the tool's schema as a dict instead"
    )


def _sections(doc: str) -> dict[str, str]:
    """Return a docstring's sections by name; "" is what stands before the first."""
    marks = list(_SECTION.finditer(doc))
    ends = [mark.start() for mark in marks[1:]] + [len(doc)]
    sections = {"": doc[: marks[0].start() if marks else len(doc)]}
    for mark, end in zip(marks, ends, strict=True) if marks else ():
        sections.setdefault(mark[1], doc[mark.end() : end])
    return sections


def _described(section: str) -> dict[str, str]:
    """Return each argument's description; lines that are indented deeper than its name go on with it."""
    described: dict[str, list[str]] = {}
    current, margin = None, None
    for line in filter(str.strip, section.splitlines()):
        found = _ARGUMENT.match(line)
        if found and (margin is None or len(found[1]) <= margin):
            current, margin = found[2], len(found[1])
            described[current] = [line[found.end() :]]
        elif current is not None:
            described[current].append(line)
    return {name: " ".join(filter(None, map(str.strip, lines))) for name, lines in described.items()}
