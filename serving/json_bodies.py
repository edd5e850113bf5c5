"""The JSON of a request's body, as strict as the standard: no NaN, no name twice, no endless nesting."""

import json
from typing import Any

from ..runtime.errors import UsageError


def read_json(body: bytes) -> Any:
    """Return what a body says; raise UsageError where it is not JSON."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise UsageError("the request's JSON is nested too deep") from error
    except ValueError as error:
        raise UsageError(f"the request is not JSON: {error}") from error


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; raise UsageError where it is something else."""
    content = read_json(body)
    if not isinstance(content, dict):
        raise UsageError(f"the request must be a JSON object, got {type(content).__name__}")
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not a number of JSON")
