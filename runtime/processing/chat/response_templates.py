"""A checkpoint's response template: which fields an answer of its model has, and what stands around each.

It knows no answer. Source: `utils/chat_parsing/response_templates.py` of transformers 5.23; patterns are those of the
`regex` library, as there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import regex

from ...errors import IntegrityError
from .response_values import PARSERS, mixes_placeholders

_KEYS = {"version", "defaults", "fields", "start_anchor", "start_anchor_pattern"}
_ANCHORS = {"open", "open_pattern", "close", "close_pattern"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field; without `opens` it is where everything goes that is in no other."""

    name: str
    opens: Any = None
    closes: Any = None
    content: str = "text"
    content_args: Mapping[str, Any]
    repeats: bool = False
    join: str | None = None
    optional: bool = True
    transform: Any = None
    transform_each: bool = False

    def __post_init__(self) -> None:
        if self.content not in PARSERS:
            raise _fault(f"field '{self.name}' has content '{self.content}' (allowed: {', '.join(PARSERS)})")
        if not isinstance(self.content_args, Mapping):
            raise _fault(f"content_args of field '{self.name}' is not an object")
        if self.join is not None and not (isinstance(self.join, str) and self.repeats):
            raise _fault(f"join of field '{self.name}' must be a text, and goes with repeats")
        if self.transform_each and self.transform is None:
            raise _fault(f"field '{self.name}' has transform_each and no transform")
        if mixes_placeholders(self.transform):
            raise _fault(f"a transform of field '{self.name}' mixes a placeholder with other text")
        named = {name for pattern in (self.opens, self.closes) if pattern for name in pattern.groupindex}
        if named and self.transform is None:
            raise _fault(f"field '{self.name}' names groups ({', '.join(sorted(named))}) and has no transform for them")


@dataclass(frozen=True)
class ResponseTemplate:
    """The `fields` by name, what an answer has before anything is read, and where in a prompt it begins."""

    fields: Mapping[str, Field]
    defaults: Mapping[str, Any]
    start: Any

    @property
    def implicit(self) -> Field | None:
        """The field of everything that is in no other."""
        return next((field for field in self.fields.values() if field.opens is None), None)


def load_template(spec: Any) -> ResponseTemplate:
    """Return the template that `response_template` of a tokenizer_config.json is; raise IntegrityError for none."""
    if not isinstance(spec, Mapping) or spec.get("version", 1) != 1:
        raise _fault("it is not an object of version 1")
    defaults, listed = spec.get("defaults", {}), spec.get("fields")
    if not isinstance(defaults, Mapping) or not isinstance(listed, Mapping) or not listed or set(spec) - _KEYS:
        raise _fault(f"it needs 'fields', each by its name, and allows {', '.join(sorted(_KEYS))}")
    made = {name: _field(name, entry) for name, entry in listed.items()}
    if sum(field.opens is None for field in made.values()) > 1:
        raise _fault("more than one field has no 'open'")
    if (start := _anchor(spec, "start_anchor")) is None:
        raise _fault("it has no 'start_anchor'")
    return ResponseTemplate(made, defaults, start)


def _field(name: str, entry: Any) -> Field:
    own = {item.name for item in fields(Field)} - {"name", "opens", "closes"}
    if not isinstance(entry, Mapping):
        raise _fault(f"field '{name}' is not an object")
    if unknown := set(entry) - own - _ANCHORS:
        raise _fault(f"unknown {unknown}")
    rest: dict[str, Any] = {"content_args": {}} | {key: value for key, value in entry.items() if key in own}
    return Field(name=name, opens=_anchor(entry, "open"), closes=_anchor(entry, "close"), **rest)


def _anchor(entry: Mapping[str, Any], key: str) -> Any:
    """Return the pattern of an anchor: a text, a list of texts, or a pattern; None where there is none."""
    if f"{key}_pattern" in entry and key in entry:
        raise _fault(f"it has both '{key}' and '{key}_pattern'")
    if f"{key}_pattern" in entry:
        return _compiled(entry[f"{key}_pattern"])
    if key not in entry:
        return None
    texts = [entry[key]] if isinstance(entry[key], str) else entry[key]
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise _fault(f"'{key}' must be a text or a list of texts, none empty")
    return _compiled("|".join(map(regex.escape, sorted(texts, key=len, reverse=True))))


def _compiled(pattern: Any) -> Any:
    try:
        return regex.compile(pattern, regex.DOTALL)
    except (regex.error, TypeError, RecursionError) as error:
        raise _fault(f"{str(pattern)[:100]!r} is not a pattern: {error}") from error


def _fault(reason: str) -> IntegrityError:
    return IntegrityError(f"tokenizer_config.json: response_template: {reason}. Export the model again")
