"""What went wrong, as each protocol says it: a status and a body, never a traceback, never a name of this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.responses import JSONResponse

from ..runtime.errors import EnvironmentMissing, UnsupportedError, UsageError
from .executor import Gone, TooLate
from .models import UnknownModelError

_LONGEST = 800  # characters of a message


@dataclass(frozen=True)
class Failure:
    """A failed request: the status, a sentence, and a word for programs."""

    status: int
    said: str
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


INTERNAL = Failure(500, "the server failed on this request; its log says why", "internal_error")
_BY_ERROR: tuple[tuple[type[Exception], int, str], ...] = (
    (UnknownModelError, 404, "model_not_found"),
    (UsageError, 400, "invalid_request_error"),
    (UnsupportedError, 400, "unsupported"),
    (EnvironmentMissing, 503, "unavailable"),
)


def failure_of(error: Exception) -> Failure:
    """Return how an exception is told to a client; what is none of his business is an internal error."""
    if isinstance(error, TooLate):
        return Failure(504, "the request took longer than it may: ask for less, or try again later", "timeout")
    if isinstance(error, Gone):
        return Failure(499, "the client went away", "cancelled")
    for kind, status, word in _BY_ERROR:
        if isinstance(error, kind):
            return Failure(status, str(error), word)
    return INTERNAL


def is_expected(error: Exception) -> bool:
    """Tell whether an exception is the client's doing or the machine's load, and not a fault of the server."""
    return failure_of(error) is not INTERNAL


def _openai(failure: Failure) -> Any:
    kind = "invalid_request_error" if failure.status < 500 else "server_error"
    return {"error": {"message": failure.said, "type": kind, "param": None, "code": failure.kind}}


def _plain(failure: Failure) -> Any:
    return {"error": failure.said}


def _tei(failure: Failure) -> Any:
    words = {429: "Overloaded", 413: "Validation", 422: "Validation", 400: "Validation", 503: "Unhealthy"}
    return {"error": failure.said, "error_type": words.get(failure.status, "Backend")}


# The shape of an error by the last part of the address, else by its first.
_SHAPES: Mapping[str, Callable[[Failure], Any]] = {"v1": _openai, "embed": _tei, "rerank": _tei, "predict": _tei}


def told(path: str, failure: Failure) -> JSONResponse:
    """Return the answer to a request that failed, in the shape of the protocol that its address belongs to."""
    parts = path.strip("/").split("/")
    shape = _SHAPES.get(next((part for part in parts if part == "v1"), parts[-1]), _plain)
    said = failure.said.encode(errors="backslashreplace").decode()  # half a character cannot be sent
    short = said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"
    return JSONResponse(shape(replace(failure, said=short)), failure.status, headers=dict(failure.headers))
