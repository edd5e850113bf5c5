"""What a client may say to a pipeline: arguments by name, of the types that the pipeline's own fields have.

From Python more may be given, which only what JSON can express has to be told from.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from ..runtime.errors import UsageError
from ..runtime.generation.config import GenerationConfig
from ..runtime.pipelines.shared.text import TokenizerParameters

# Arguments of a pipeline that are the server's to choose, or that name code or a folder of this machine.
_OWN = {"self", "inputs", "batch_size", "num_workers", "assistant_model", "streamer", "stopping_criteria"}
_OWN |= {"logits_processor", "prefix_allowed_tokens_fn", "chat_template", "image_processor_kwargs"}
_LARGEST = 2**63
_IDS: TypeAdapter[Any] = TypeAdapter(list[int] | list[list[int]])


def check_arguments(parameters: type, given: Mapping[str, Any]) -> None:
    """Raise UsageError for an argument that no client may choose, and for one of another type than the field has."""
    generation = {**_types(GenerationConfig), "negative_prompt_ids": _IDS}
    inner = {**_types(TokenizerParameters), **generation}
    _check(given, {**generation, **_types(parameters)})
    for each in given.values():
        if isinstance(each, Mapping):  # such as generate_kwargs
            _check(each, inner)


def _check(given: Mapping[str, Any], types: Mapping[str, TypeAdapter[Any]]) -> None:
    if own := sorted(_OWN & set(given)):
        raise UsageError(f"'{own[0]}' is not accepted from a client: leave it out")
    for name, value in given.items():
        _check_numbers(name, value)
        if name in types:
            _check_type(name, value, types[name])


def _check_numbers(name: str, value: Any) -> None:
    """Raise UsageError where a whole number, wherever it stands in a value, is larger than arrays have them."""
    pending = [value]
    while pending:
        each = pending.pop()
        pending.extend(each.values() if isinstance(each, Mapping) else each if isinstance(each, list) else ())
        if isinstance(each, int) and abs(each) >= _LARGEST:
            raise UsageError(f"{name} has a number that is too large: {each!s:.40}")


def _check_type(name: str, value: Any, adapter: TypeAdapter[Any]) -> None:
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise UsageError(f"{name} is not valid: {error.errors()[0]['msg']}, got {value!r:.60}") from error


@cache
def _types(parameters: type) -> Mapping[str, TypeAdapter[Any]]:
    """Return what the fields of a pipeline's parameters may be; those are left out that JSON cannot tell."""
    found: dict[str, TypeAdapter[Any]] = {}
    for name, kind in get_type_hints(parameters).items():
        try:
            found[name] = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=False))
        except PydanticUserError:
            continue
    return found
