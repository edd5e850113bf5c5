"""What stands before every route: who asks, whether there is room, and how much he sends; decided before it is read.

It knows no protocol but the shape of its errors.
"""

import asyncio
import json
import logging
import math
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .executor import CURRENT, Executor, Gone, Ticket
from .failures import Failure, told
from .keys import Keys
from .limits import Limits

LOG = logging.getLogger("vitrify.serving")
OPEN = frozenset({"/health", "/docs", "/openapi.json"})
_ID = re.compile(r"[!-~]{1,64}")


@dataclass
class _Refused(Exception):  # noqa: N818 - reads as what it is
    failure: Failure


class Gate:
    """An ASGI app around another one."""

    def __init__(self, app: ASGIApp, *, limits: Limits, keys: Keys, executor: Executor) -> None:
        self._app, self._limits, self._keys, self._executor = app, limits, keys, executor
        self.under_way = 0
        self._seconds = 0.0  # of a request, lately

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        named = headers.get("x-request-id", "")
        request = _Request(scope, named if _ID.fullmatch(named) else uuid.uuid4().hex)
        try:
            ticket = self._admitted(headers)
            body = await self._body(headers, receive)
            await self._run(request, ticket, body, receive, send)
        except Gone:
            request.log(None)
        except _Refused as refused:
            await told(scope["path"], refused.failure)(scope, receive, request.sending(send))
            request.log(None)
        except asyncio.CancelledError:  # the server ends, and this takes too long
            if not request.is_answered:
                await told(scope["path"], _ENDING)(scope, receive, request.sending(send))

    async def _run(self, request: "_Request", ticket: Ticket, body: bytes, receive: Receive, send: Send) -> None:
        CURRENT.set(ticket)
        self.under_way += 1
        left = asyncio.ensure_future(_left(receive, ticket))
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replayed() -> Message:
            return next(messages, None) or await asyncio.shield(left)

        try:
            await self._app(request.scope, replayed, request.sending(send))
        finally:
            self.under_way -= 1
            left.cancel()
            self._seconds += 0.1 * (time.monotonic() - ticket.came - self._seconds)
            request.log(ticket)

    def _admitted(self, headers: Headers) -> Ticket:
        """Return the ticket of a request that may come in."""
        key = self._keys.known(headers.get("authorization"))
        if key is None:
            raise _Refused(Failure(401, "the API key is missing or unknown", "invalid_api_key", _WHO))
        if self.under_way >= self._limits.requests or self._executor.tokens >= self._limits.tokens:
            wait = {"retry-after": str(max(1, math.ceil(self._seconds * self.under_way)))}
            raise _Refused(Failure(429, "the server has as much to do as it takes on: come again", "overloaded", wait))
        if (coding := headers.get("content-encoding", "identity")) != "identity":
            raise _Refused(Failure(415, f"content-encoding {coding!r:.40} is not accepted", "unsupported"))
        return Ticket(self._patience(headers), key)

    def _patience(self, headers: Headers) -> float:
        asked = headers.get("x-request-timeout")
        if asked is None:
            return self._limits.seconds
        try:
            seconds = float(asked)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            said = f"x-request-timeout must be a number of seconds, got {asked!r:.40}"
            raise _Refused(Failure(400, said, "invalid_request_error"))
        return min(seconds, self._limits.seconds)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Read what the client sends, no more of it and no longer than allowed; raise Gone where he leaves midway."""
        declared, most = headers.get("content-length", "0"), self._limits.body
        if len(declared) > len(str(most)) or not declared.isdecimal() or int(declared) > most:
            raise _Refused(_too_large(most))
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.reading):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > most:
                        raise _Refused(_too_large(most))
        except TimeoutError as error:
            said = f"the request was not there within {self._limits.reading:g} seconds"
            raise _Refused(Failure(408, said, "timeout", {"connection": "close"})) from error
        return b"".join(parts)


_WHO = {"www-authenticate": "Bearer"}
_ENDING = Failure(503, "the server is shutting down: try again later", "unavailable", {"connection": "close"})


def _too_large(most: int) -> Failure:
    return Failure(413, f"the request is larger than {most} bytes", "too_large", {"connection": "close"})


async def _left(receive: Receive, ticket: Ticket) -> Message:
    """Wait until the client goes away, and say so on the ticket."""
    while (message := await receive())["type"] != "http.disconnect":
        pass
    ticket.is_gone = True
    return message


class _Request:
    """A request as the log has it: one JSON line, with nothing of what it contains."""

    def __init__(self, scope: Scope, name: str) -> None:
        self.scope, self._name, self._status = scope, name, 0
        self._begun = time.monotonic()

    @property
    def is_answered(self) -> bool:
        """Whether an answer has begun."""
        return self._status > 0

    def sending(self, send: Send) -> Send:
        """Return `send` with the request's id in the headers of the answer."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", self._name.encode())]
            await send(message)

        return sending

    def log(self, ticket: Ticket | None) -> None:
        """Write its line."""
        spent = {} if ticket is None else _spent(ticket)
        line = {
            "id": self._name,
            "method": self.scope["method"],
            "route": getattr(self.scope.get("route"), "path", None),
            "model": self.scope.get("path_params", {}).get("name"),
            "status": self._status,
            "seconds": round(time.monotonic() - self._begun, 6),
            **spent,
        }
        LOG.info("%s", json.dumps(line))


def _spent(ticket: Ticket) -> Mapping[str, Any]:
    return {"tokens": ticket.tokens, "queued": round(ticket.queued, 6), "ran": round(ticket.running, 6)}
