"""The command that answers over a network."""

import math
from pathlib import Path
from typing import Annotated

import typer

from ..runtime.errors import DependencyMissing, install_hint
from ..serving.limits import Limits
from .app import MODELS, command
from .output import say


def _seconds(value: float) -> float:
    if not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not a number of seconds above 0")
    return value


@command(MODELS, example="vitrify serve minilm smollm2=./smollm2:cpu-w8 --port 8000")
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="Bundle, checkpoint or Hub id as [NAME=]SOURCE[:PROFILE], or serve.toml."
        ),
    ],
    host: Annotated[str, typer.Option(metavar="TEXT", help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="INTEGER", help="Port to listen on; 0 for any free one.")] = 8000,
    uds: Annotated[
        Path | None, typer.Option("--uds", metavar="PATH", help="Unix socket to listen on in place of a port.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Time that a request may take (504 after it).", callback=_seconds),
    ] = Limits.seconds,
    max_requests: Annotated[
        int, typer.Option(metavar="INTEGER", min=1, help="Requests under way at a time; more get 429.")
    ] = Limits.requests,
    max_tokens: Annotated[
        int, typer.Option(metavar="INTEGER", min=1, help="Tokens that may wait to be run; more get 429.")
    ] = Limits.tokens,
    max_body: Annotated[
        int, typer.Option(metavar="BYTES", min=1, help="Size of a request; larger ones get 413.")
    ] = Limits.body,
    api_keys: Annotated[
        Path | None, typer.Option(metavar="PATH", help="File of API keys, one a line (or VITRIFY_API_KEYS).")
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Time that requests under way have left after SIGTERM.", callback=_seconds
        ),
    ] = 30.0,
) -> None:
    """Serve models over HTTP: Hugging Face's, OpenAI's and text-embeddings-inference's routes."""
    try:
        from ..serving.app import make_app
        from ..serving.running import Address
        from ..serving.running import serve as run
    except ImportError as error:
        raise DependencyMissing(
            f"serving needs '{error.name}', which is not installed: {install_hint('serve')}"
        ) from error
    from ..serving.keys import Keys
    from ..serving.models import Models, read_wanted

    limits = Limits(requests=max_requests, tokens=max_tokens, body=max_body, seconds=timeout)
    wanted, keys = read_wanted(models), Keys.read(api_keys)
    address = Address(host, port, uds)
    with address.bind() as listening:
        served = Models(wanted)
        served.warm()
        address.listen(listening)
        if uds is None:
            address = Address(host, listening.getsockname()[1])
        for model in served:
            say(f"{model.name}: {', '.join(model.tasks)} ({model.profile})")
        app = make_app(served, limits=limits, keys=keys)
        run(app, listening, drain=drain, ready=lambda: say(f"listening on {address}"))
