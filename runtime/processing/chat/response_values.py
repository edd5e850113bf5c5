"""What stands in a field of an answer: text to values, and values to the shape that a response template asks for.

Source: `utils/chat_parsing/content_parsers.py` of transformers 5.23. A ValueError or LookupError says that a text does
not fit.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import regex

SECONDS = 3.0
"""What all patterns of one answer may take: they come with a checkpoint, and are not trusted."""

_PLACEHOLDER = regex.compile(r"\{(\w+(?:\.\w+)*)\}")
_KEY = regex.compile(r"(?<=[{,])(\w+):")
_OPEN, _CLOSE = "\x01", "\x02"  # around the number of a string that was taken out of a text


class Clock:
    """How long the patterns of one answer may still take."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SECONDS

    @property
    def left(self) -> float:
        """The seconds that are left; raise TimeoutError where none are."""
        if (left := self._end - time.monotonic()) <= 0:
            raise TimeoutError
        return left


Arguments = Mapping[str, Any]


def parse(text: str, name: str, args: Arguments, clock: Clock) -> Any:
    """Return the value of a text by one of PARSERS."""
    return PARSERS[name](text, args, clock)


def _text(text: str, args: Arguments, _: Clock) -> str:
    return text.strip() if args.get("strip", True) else text


def _bool(text: str, args: Arguments, clock: Clock) -> bool:
    return _text(text, args, clock).lower() in ("true", "1")


def _json(text: str, args: Arguments, clock: Clock) -> Any:
    """Return what is JSON but, by `args`, for bare keys and strings between other marks."""
    delimiters, strings, working = args.get("string_delims", []), [], text
    if delimiters and (_OPEN in text or _CLOSE in text):
        raise ValueError("the text has control characters that JSON with string_delims must not have")
    for before, after in delimiters:
        pattern = regex.compile(f"{regex.escape(before)}(.*?){regex.escape(after)}", regex.DOTALL)

        def take(found: Any) -> str:
            strings.append(found[1])
            return f"{_OPEN}{len(strings) - 1}{_CLOSE}"

        working = pattern.sub(take, working, timeout=clock.left)
    if args.get("unquoted_keys", False):
        working = _KEY.sub(r'"\1":', working, timeout=clock.left)
    for index, string in enumerate(strings):
        working = working.replace(f"{_OPEN}{index}{_CLOSE}", json.dumps(string))
    try:
        return json.loads(working)
    except json.JSONDecodeError as error:
        if args.get("allow_non_json"):
            return _text(text, args, clock)
        raise ValueError(f"not JSON: {error}") from error


def _xml_inline(text: str, args: Arguments, clock: Clock) -> dict[str, Any]:
    """Return what `tag_pattern` finds, by its groups `key` and `value`."""
    made: dict[str, Any] = {}
    for found in regex.compile(args["tag_pattern"], regex.DOTALL).finditer(text, timeout=clock.left):
        groups = found.groupdict()
        key, value = groups["key"], _inner(groups.get("value", ""), args, clock)
        if key in made and args.get("merge_duplicates", False):
            made[key] = [*(made[key] if isinstance(made[key], list) else [made[key]]), value]
        else:
            made[key] = value
    return made


def _kv_lines(text: str, args: Arguments, clock: Clock) -> dict[str, Any]:
    made = {}
    for line in text.split(args.get("line_sep", "\n")):
        key, separator, value = _text(line, args, clock).partition(args.get("kv_sep", ":"))
        if separator:
            made[_text(key, args, clock)] = _inner(_text(value, args, clock), args, clock)
    return made


def _inner(text: Any, args: Arguments, clock: Clock) -> Any:
    parser = args.get("value_parser")
    return text if parser is None else parse(text, parser.get("name", "text"), parser.get("args", {}), clock)


PARSERS: Mapping[str, Callable[[str, Arguments, Clock], Any]] = {
    "text": _text,
    "int": lambda text, args, clock: int(_text(text, args, clock)),
    "float": lambda text, args, clock: float(_text(text, args, clock)),
    "bool": _bool,
    "json": _json,
    "xml-inline": _xml_inline,
    "kv-lines": _kv_lines,
}


def transformed(shape: Any, scope: Mapping[str, Any]) -> Any:
    """Return `shape` with each text that is a placeholder, `{name}` or `{name.key}`, replaced by its value."""
    if isinstance(shape, Mapping):
        return {key: transformed(value, scope) for key, value in shape.items()}
    if isinstance(shape, list):
        return [transformed(value, scope) for value in shape]
    whole = _PLACEHOLDER.fullmatch(shape) if isinstance(shape, str) else None
    if whole is None:
        return shape
    value: Any = scope
    for key in whole[1].split("."):
        if not isinstance(value, Mapping) or key not in value:
            raise ValueError(f"there is nothing for the placeholder {shape}")
        value = value[key]
    return value


def mixes_placeholders(shape: Any) -> bool:
    """Tell whether a text in `shape` has a placeholder beside other words, which nothing replaces."""
    if isinstance(shape, (Mapping, list)):
        return any(map(mixes_placeholders, shape.values() if isinstance(shape, Mapping) else shape))
    return isinstance(shape, str) and bool(_PLACEHOLDER.search(shape)) and not _PLACEHOLDER.fullmatch(shape)
