"""An answer as a message with fields, such as thinking, content and tool calls, by its checkpoint's response template.

Source: `utils/chat_parsing/response_parser.py` of transformers 5.23, for an answer that is whole.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import regex

from ...errors import IntegrityError, UsageError
from .response_templates import Field, ResponseTemplate, load_template
from .response_values import SECONDS, Clock, parse, transformed
from .tool_arguments import parameters_of, with_types

_EMPTY: tuple[Any, ...] = (None, "", [], {})


def parse_response(spec: Any, text: str, *, prefix: str, tools: Sequence[Any] | None = None) -> dict[str, Any]:
    """Return the message that an answer is.

    Parameters
    ----------
    spec
        `response_template` of a tokenizer_config.json.
    text, prefix
        The answer, and the prompt before it, both with their special tokens: a chat template may begin the answer.
    tools
        Those of the chat: arguments of calls become what their schemas say.

    Raises
    ------
    IntegrityError
        The template is not one, or its patterns take too long.
    UsageError
        The answer does not fit it.

    """
    template = load_template(spec)
    clock = Clock()
    try:
        ends = [found.end() for found in template.start.finditer(prefix, timeout=clock.left)]
        whole = prefix[ends[-1] if ends else 0 :] + text
        return _Reading(template, whole, parameters_of(tools), clock).message()
    except TimeoutError as error:
        reason = f"its patterns take longer than {SECONDS:g} seconds"
        raise IntegrityError(f"tokenizer_config.json: response_template is rejected: {reason}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, regex.error) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"the answer does not fit the checkpoint's response_template: {type(error).__name__}: {str(error)[:200]}. "
            "Pass return_full_text=False for its text"
        ) from error


@dataclass
class _Region:
    """What is read of one field, or outside of all where `of` is None."""

    of: Field | None
    is_open: bool = False
    captures: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def add(self, text: str) -> None:
        if text and self.of is not None:
            self.is_open, self.body = True, self.body + text

    def value(self, clock: Clock) -> Any:
        """Return what the text is, in the shape that the field asks for."""
        assert self.of is not None
        value, shape = parse(self.body, self.of.content, self.of.content_args, clock), self.of.transform
        if shape is None:
            return value
        if not self.of.transform_each:
            return transformed(shape, {**self.captures, "content": value})
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise ValueError(f"field '{self.of.name}' is not a list of objects")
        return [transformed(shape, {**self.captures, **item}) for item in value]


class _Reading:
    """An answer while it is read: fields that are found go into a message."""

    def __init__(
        self, template: ResponseTemplate, text: str, parameters: Mapping[str, Mapping[str, Any]], clock: Clock
    ) -> None:
        self._template, self._text, self._parameters, self._clock = template, text, parameters, clock
        self._found: dict[str, Any] = deepcopy(dict(template.defaults))

    def message(self) -> dict[str, Any]:
        """Return the message; raise ValueError if a field is missing that must be there."""
        place, region = 0, _Region(self._template.implicit)
        while anchor := self._next_anchor(place, region.of):
            opened, match = anchor
            region.add(self._text[place : match.start()])
            place = match.end()
            self._close(region)
            if opened is None and not region.is_open and match.start() == match.end():
                break  # what ends nothing would be found again
            captures = {} if opened is None else {name: it for name, it in match.groupdict().items() if it is not None}
            region = _Region(opened or self._template.implicit, opened is not None, captures)
        else:
            region.add(self._text[place:])
            self._close(region)
        if missing := [each.name for each in self._template.fields.values() if self._lacks(each)]:
            raise ValueError(f"it has no {' and no '.join(missing)}")
        kept = self._template.defaults
        return {name: value for name, value in self._found.items() if name in kept or value not in _EMPTY}

    def _lacks(self, wanted: Field) -> bool:
        return not wanted.optional and wanted.name not in self._found

    def _next_anchor(self, place: int, current: Field | None) -> tuple[Field | None, Any] | None:
        """Return the first anchor from a place on, the longest of several, with the field that it opens, if it does."""
        implicit = self._template.implicit
        fields = self._template.fields.values() if current is implicit else ()
        watched: list[tuple[Field | None, Any]] = [(each, each.opens) for each in fields if each.opens is not None]
        if current is not None and current.closes is not None:
            watched.append((None, current.closes))
        matches = [(each, pattern.search(self._text, place, timeout=self._clock.left)) for each, pattern in watched]
        return min(((each, match) for each, match in matches if match is not None), key=_order, default=None)

    def _close(self, region: _Region) -> None:
        """Put what was read of a field into the message."""
        if region.of is None or not region.is_open:
            return
        name, joint = region.of.name, region.of.join
        value = with_types(region.value(self._clock), self._parameters)
        if joint is not None:
            if not isinstance(value, str):
                raise ValueError(f"field '{name}' is joined and not a text")
            before = self._found.get(name)
            self._found[name] = value if before is None else before + joint + value
        elif region.of.repeats:
            self._found.setdefault(name, []).append(value)
        else:
            self._found[name] = value


def _order(anchor: tuple[Field | None, Any]) -> tuple[int, int, bool, str]:
    opened, match = anchor
    return match.start(), match.start() - match.end(), opened is None, opened.name if opened else ""
