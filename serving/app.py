"""The ASGI app: every protocol's routes on the same models, behind one gate."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from ..runtime.errors import VitrifyError
from ..version import __version__
from . import hugging_face, openai, tei
from .answering import Answering
from .executor import Gone, TooLate
from .failures import Failure, failure_of, is_expected, told
from .gate import Gate
from .keys import Keys
from .limits import Limits
from .models import Models

_LOG = logging.getLogger("vitrify.serving")


def make_app(models: Models, *, limits: Limits | None = None, keys: Keys | None = None) -> ASGIApp:
    """Return the app that answers with these models, which it warms before it starts and closes when it ends.

    Parameters
    ----------
    models
        What is served.
    limits
        The bounds (default: those of `Limits`).
    keys
        Who may ask (default: everybody).

    """
    limits = limits or Limits()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        models.warm()
        yield
        models.close()

    app = FastAPI(title="vitrify", version=__version__, lifespan=lifespan, redoc_url=None)
    answering = Answering(models, limits)
    for protocol in (openai, tei, hugging_face):
        app.include_router(protocol.router(answering))

    @app.get("/health", tags=["vitrify"])
    async def health() -> Response:
        """Answer as soon as the models are there."""
        return JSONResponse({"status": "ok"})

    for kind in (VitrifyError, TooLate, Gone, Exception):
        app.add_exception_handler(kind, _failed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route)
    return Gate(app, limits=limits, keys=keys or Keys(), executor=models.executor)


async def _failed(request: Request, error: Exception) -> Response:
    if not is_expected(error):
        _LOG.exception("a request failed", exc_info=error)
    return told(request.url.path, failure_of(error))


async def _invalid(request: Request, error: Exception) -> Response:
    """Answer a request whose fields are not what the protocol has."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    said = f"{place}: {first['msg']}" if place else first["msg"]
    return told(request.url.path, Failure(400, f"the request is not valid: {said:.300}", "invalid_request_error"))


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: f"no such address: {request.url.path!r:.120}", 405: f"{request.method} is not allowed here"}
    said = words.get(error.status_code, str(error.detail))
    return told(request.url.path, Failure(error.status_code, said, "invalid_request_error", error.headers or {}))
