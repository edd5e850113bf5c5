"""Run the app on this machine: a socket that is bound first, uvicorn, and an end that waits for what is under way."""

import logging
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ..runtime.errors import EnvironmentMissing, UsageError

_BACKLOG = 1024
_KEEP_ALIVE = 30  # seconds between two requests of a connection
_HEADERS = 64 * 2**10  # bytes


@dataclass(frozen=True)
class Address:
    """Where the server listens: a host and a port (0: any that is free), or a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 8000
    uds: Path | None = None

    def bind(self) -> socket.socket:
        """Return the listening socket; raise EnvironmentMissing where it cannot be had."""
        if not self.host.strip():
            raise UsageError("--host is empty: use 127.0.0.1, or 0.0.0.0 for all addresses")
        if not 0 <= self.port < 2**16:
            raise UsageError(f"--port must be from 0 to 65535, got {self.port}")
        with self._told():
            return self._unix() if self.uds is not None else self._internet()

    def listen(self, bound: socket.socket) -> None:
        """Let clients connect; raise EnvironmentMissing where another server was faster."""
        with self._told():
            bound.listen(_BACKLOG)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the system says into an error that says what to choose."""
        other = "--uds" if self.uds is not None else "--host or --port"
        try:
            yield
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise EnvironmentMissing(f"cannot listen on {self} ({reason}): choose another {other}") from error

    def _internet(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        return listening

    def _unix(self) -> socket.socket:
        assert self.uds is not None
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if self.uds.is_socket() and listening.connect_ex(str(self.uds)) != 0:
            self.uds.unlink()  # of a server that has ended
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self.uds))
        return listening

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.uds}" if self.uds is not None else f"http://{host}:{self.port}"


def serve(app: ASGIApp, listening: socket.socket, *, drain: float = 30.0, ready: Callable[[], None]) -> None:
    """Serve until a signal ends it: SIGTERM and SIGINT let what is under way finish, for `drain` seconds at most.

    `ready` is called once requests are answered.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(drain),
        h11_max_incomplete_event_size=_HEADERS,
        server_header=False,
        ws="none",
    )
    _Server(config, ready).run(sockets=[listening])


class _Server(uvicorn.Server):
    """A server that a first signal ends in good order, and a second one at once."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the app open then
            await self.lifespan.shutdown()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - both signals mean the same
        self.force_exit = self.should_exit
        self.should_exit = True
        # What is cut off now would be told as errors.
        logging.getLogger("uvicorn.error").disabled = self.force_exit
