"""The arguments of tool calls as the tools' schemas have them: models write "7" where a number is meant.

Source: `_coerce` and what calls it in `utils/chat_parsing/response_parser.py` of transformers 5.23.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .tools import tool_schemas

Properties = Mapping[str, Any]


def parameters_of(tools: Sequence[Any] | None) -> dict[str, Properties]:
    """Return the schemas of each tool's parameters, by the tool's name."""
    found = {}
    for tool in tool_schemas(tools) or ():
        function = tool.get("function", tool)
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            parameters = function.get("parameters")
            properties = parameters.get("properties") if isinstance(parameters, dict) else None
            found[function["name"]] = properties if isinstance(properties, dict) else {}
    return found


def with_types(value: Any, tools: Mapping[str, Properties]) -> Any:
    """Return tool calls, one or a list, with arguments of the types that their tool asks for."""
    if isinstance(value, list):
        return [with_types(item, tools) for item in value]
    function = value.get("function") if isinstance(value, dict) else None
    name, arguments = (function.get("name"), function.get("arguments")) if isinstance(function, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return value
    known = tools.get(name, {})
    typed = {key: _typed(item, _types(known.get(key))) for key, item in arguments.items()}
    return {**value, "function": {**value["function"], "arguments": typed}}


def _typed(value: Any, types: tuple[str, ...]) -> Any:
    if isinstance(value, list) and "array" not in types:  # several values of one name
        return [_cast(item, types) if isinstance(item, str) else item for item in value]
    return _cast(value, types) if isinstance(value, str) else value


def _types(schema: Any) -> tuple[str, ...]:
    """Return the names of the types that a schema allows."""
    if not isinstance(schema, dict):
        return ()
    declared = schema.get("type")
    found = [declared] if isinstance(declared, str) else []
    found += [name for name in declared if isinstance(name, str)] if isinstance(declared, list) else []
    found += [name for union in ("anyOf", "oneOf") for choice in schema.get(union) or () for name in _types(choice)]
    return (*found, "null") if schema.get("nullable") and "null" not in found else tuple(found)


def _cast(text: str, types: tuple[str, ...]) -> Any:
    """Return the text as the first type that it can be, or itself."""
    for name in types:
        try:
            return _CASTS[name](text)
        except (KeyError, ValueError):
            continue
    return text


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        number = float(text)  # a whole number may be written as "3.0"
    if not number.is_integer():
        raise ValueError(text)
    return int(number)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return int(number) if number.is_integer() and "." not in text else number


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]


def _null(text: str) -> None:
    if text.strip() not in ("null", "None"):
        raise ValueError(text)


def _json(kind: type) -> Callable[[str], Any]:
    def cast(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError(text)  # noqa: TRY004 - another type may fit
        return value

    return cast


_CASTS: Mapping[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "null": _null,
    "object": _json(dict),
    "array": _json(list),
}
