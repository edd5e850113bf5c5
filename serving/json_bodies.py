"""JSON in and out, as strict as the standard: no NaN, no name twice, no endless nesting."""

import json
import math
from typing import Any

import numpy as np
from starlette.responses import JSONResponse

from ..runtime.errors import UnsupportedError, UsageError
from ..runtime.json_files import STRICT


def read_json(body: bytes) -> Any:
    """Return what a body says; raise UsageError where it is not JSON."""
    try:
        text = body.decode("utf-8")
        return json.loads(text, parse_float=_finite, **STRICT)
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


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError(f"{digits:.40} is too large a number")
    return number


class Json(JSONResponse):
    """An answer in JSON, which may contain numpy's arrays and numbers."""

    def render(self, content: Any) -> bytes:
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
        except ValueError as error:
            raise UnsupportedError("the result contains NaN or an infinity, which JSON cannot express") from error
        return text.encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
