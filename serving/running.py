"""Run the app on this machine: a socket that is bound first, uvicorn, and an end that waits for what is under way."""

import socket
from dataclasses import dataclass
from pathlib import Path

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
        try:
            return self._unix() if self.uds is not None else self._internet()
        except OSError as error:
            raise EnvironmentMissing(
                f"{self} cannot be listened on ({error.strerror}): choose another --port"
            ) from error
        except OverflowError as error:
            raise UsageError(f"--port must be from 0 to 65535, got {self.port}") from error

    def _internet(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.host, self.port))
        return listening

    def _unix(self) -> socket.socket:
        assert self.uds is not None
        if self.uds.is_socket():
            self.uds.unlink()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self.uds))
        return listening

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.uds}" if self.uds is not None else f"http://{host}:{self.port}"


def serve(app: ASGIApp, listening: socket.socket, *, drain: float = 30.0) -> None:
    """Serve until a signal ends it: SIGTERM and SIGINT let what is under way finish, for `drain` seconds at most."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(drain)),
        h11_max_incomplete_event_size=_HEADERS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening])
