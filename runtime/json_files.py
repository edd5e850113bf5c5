"""JSON files that others wrote: read within bounds, and checked against the annotations of what they become.

The table of a file's fields is a dataclass or, where most fields belong to other programs, a TypedDict or a dict of
annotations. Every error names the file and the field. It knows no file and no field by name.
"""

import dataclasses
import json
import re
import reprlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from .errors import IntegrityError

LARGEST = 64 * 2**20  # bytes; the largest tokenizer_config.json have three
_LONGEST = 2**16  # characters of one text, such as a chat template
_WIDEST = 2**63
_DEEPEST = 100
# Control characters would write on a user's terminal; half a character cannot be written at all.
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    NoneType: "null",
}
# What JSON has for the annotations that say what is in them.
_SHAPES: Mapping[Any, type] = {tuple: list, Sequence: list, Mapping: dict}


def read_object(path: Path, *, strict: bool = False, advice: str = "export or copy it again") -> dict[str, Any]:
    """Return the JSON object in a file; `strict` allows neither NaN nor a field that is there twice.

    Raises FileNotFoundError where there is no file, IntegrityError where it is something else, with `advice`.
    """
    try:
        content = json.loads(_bounded(path).decode("utf-8"), **(STRICT if strict else {}))
    except FileNotFoundError:
        raise
    except RecursionError as error:
        raise IntegrityError(f"'{path}' is not JSON (nested too deep): {advice}") from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"'{path}' is not JSON ({error}): {advice}") from error
    if _is_deep(content):
        raise IntegrityError(f"'{path}' is nested deeper than {_DEEPEST} levels: {advice}")
    if not isinstance(content, dict):
        raise IntegrityError(f"'{path}' contains {brief(content)}, not a JSON object: {advice}")
    return content


def read_fields(
    kind: Any, content: Mapping[str, Any], where: Path | str, *, advice: str = "export or copy it again"
) -> Any:
    """Return the content of a file as `kind` says; raise IntegrityError that names the field."""
    try:
        return read_as(kind, content)
    except Mismatch as error:
        raise IntegrityError(f"'{where}' is broken: {error}: {advice}") from error


class Mismatch(ValueError):  # noqa: N818 - reads as what it is
    """A field that is missing, or whose value is not what its table says."""


def read_as(kind: Any, value: Any, at: str = "") -> Any:
    """Return a value of JSON as `kind`, which is at `at` in its file.

    An object becomes the dataclass that `kind` is, a list a tuple where it says so. Of a TypedDict the fields that are
    null are left out, and those that it does not name are kept as they are.
    """
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _made(kind, value, at)
    if isinstance(kind, dict) or is_typeddict(kind):
        return _entries(kind, value, at)
    origin, inside = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _one_of(inside, value, at)
    if origin in {tuple, Sequence}:
        return _listed(origin, inside, _expected(value, list, "a list", at), at)
    if origin is Mapping:
        content = _object(value, at)
        for key in content:
            _plain(str, key, f"a key of {at}")
        return {key: read_as(inside[1], item, _below(at, key)) for key, item in content.items()}
    return _plain(kind, value, at)


def brief(value: Any) -> str:
    """Return a value as an error shows it: on one line, of bounded length and depth."""
    return f"{_short.repr(value):.80}"


_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxlong = 2, 60, 30


def _made(kind: Any, value: Any, at: str) -> Any:
    content, hints = _object(value, at), _hints(kind)
    if callable(own := getattr(kind, "from_dict", None)):
        return _checked(own, at, content)
    known = {item.name: item for item in dataclasses.fields(kind)}
    if unknown := sorted(set(content) - set(known)):
        raise Mismatch(f"{_below(at, unknown[0])} is an unknown field (known: {', '.join(known)})")
    for name, item in known.items():
        if name not in content and item.default is item.default_factory is dataclasses.MISSING:
            raise Mismatch(f"{_below(at, name)} is missing")
    values = {name: read_as(hints[name], content[name], _below(at, name)) for name in known if name in content}
    return _checked(lambda given: kind(**given), at, values)


def _checked(make: Any, at: str, given: Any) -> Any:
    """Return what `make` makes; what it refuses is told with its place."""
    try:
        return make(given)
    except ValueError as error:
        raise error if isinstance(error, Mismatch) else Mismatch(f"{at}: {error}" if at else str(error)) from error


def _listed(origin: Any, kinds: Sequence[Any], items: list[Any], at: str) -> Any:
    if origin is not tuple or ... in kinds:
        kinds = [kinds[0]] * len(items)
    if len(items) != len(kinds):
        raise _mismatch(at, items, f"a list of {len(kinds)}")
    read = [read_as(kind, item, f"{at}[{index}]") for index, (kind, item) in enumerate(zip(kinds, items, strict=True))]
    return tuple(read) if origin is tuple else read


def _entries(kind: Any, value: Any, at: str) -> dict[str, Any]:
    content = _object(value, at)
    hints, needed = (kind, ()) if isinstance(kind, dict) else (_hints(kind), sorted(kind.__required_keys__))
    for name in needed:
        if content.get(name) is None:
            raise Mismatch(f"{_below(at, name)} is missing")
    there = {name: item for name, item in content.items() if item is not None}
    return {name: read_as(hints.get(name, Any), item, _below(at, name)) for name, item in there.items()}


def _one_of(kinds: Sequence[Any], value: Any, at: str) -> Any:
    """Return the value as the first of several kinds that it is."""
    for kind in kinds:
        try:
            return read_as(kind, value, at)
        except Mismatch as error:
            if _SHAPES.get(get_origin(kind)) is type(value):
                raise  # it is of this kind, and an item of it is wrong
            del error
    raise _mismatch(at, value, " or ".join(_WORDS.get(kind, "a list") for kind in kinds))


def _plain(kind: Any, value: Any, at: str) -> Any:
    if kind not in _WORDS:
        raise Mismatch(f"{at} is an unknown field")
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise _mismatch(at, value, _WORDS[kind])
    if isinstance(value, str) and (len(value) > _LONGEST or _UNPRINTABLE.search(value)):
        raise _mismatch(at, value, f"at most {_LONGEST} characters without control characters")
    if isinstance(value, int | float) and not abs(value) <= _WIDEST:
        raise _mismatch(at, value, f"{_WORDS[kind]} of at most 2**63")
    return value


def _object(value: Any, at: str) -> dict[str, Any]:
    return _expected(value, dict, "an object", at)


def _expected(value: Any, kind: type, words: str, at: str) -> Any:
    if not isinstance(value, kind):
        raise _mismatch(at, value, words)
    return value


def _mismatch(at: str, value: Any, words: str) -> Mismatch:
    return Mismatch(f"{at or 'it'} is {brief(value)}, expected {words}")


def _below(at: str, key: str) -> str:
    return f"{at}.{key:.80}" if at else f"{key:.80}"


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST} bytes")
    return content


def _is_deep(value: Any) -> bool:
    """Tell whether a value is nested deeper than the programs that walk it go."""
    level, left = [value], _DEEPEST
    while level and left:
        items = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level, left = [item for each in items for item in each], left - 1
    return bool(level)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"field {brief(name)} is there twice")
        found[name] = value
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number of JSON")


# What `json.loads` is given to allow neither NaN nor a field that is there twice.
STRICT: Mapping[str, Any] = {"object_pairs_hook": _unique, "parse_constant": _no_constant}
