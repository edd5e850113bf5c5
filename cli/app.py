"""The `vitrify` command itself, how its help reads, and the options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..version import __version__
from .logs import set_level

if TYPE_CHECKING:
    from collections.abc import Sequence

MODELS, MEASURING, ENGINES, MACHINE = "Models", "Measuring", "TensorRT engines", "This machine"
ORDER = (
    *("export", "run", "chat", "serve", "verify", "info", "push"),
    *("bench", "trace", "tune", "build-engine", "check-engine"),
    *("tasks", "profiles", "doctor", "cache"),
)


class Command(TyperCommand):
    """A command whose help reads as a manual page: `TASK [INPUTS]...`, and flags without a type."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]

    def get_params(self, ctx: Any) -> list[Any]:
        return flags_without_type(super().get_params(ctx))


class Group(TyperGroup):
    """All commands, in their order."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def get_params(self, ctx: Any) -> list[Any]:
        return flags_without_type(super().get_params(ctx))


def flags_without_type(params: "Sequence[Any]") -> list[Any]:
    """Return the parameters; a flag says no type, as it takes no value."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return list(params)


app = typer.Typer(
    name="vitrify",
    cls=Group,
    help="Compile a Hugging Face checkpoint once; run it anywhere through pipeline(), without PyTorch.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(panel: str, *, example: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the decorator of a command: the panel that lists it, and the example at the end of its help."""

    def registered(function: Callable[..., None]) -> Callable[..., None]:
        app.command(cls=Command, rich_help_panel=panel, epilog=f"Example: {example}")(_with_logs(function))
        return function

    return registered


def _with_logs(function: Callable[..., None]) -> Callable[..., None]:
    """Return the command with the options that every command has."""

    @functools.wraps(function)
    def run(*, verbose: int, quiet: bool, **given: Any) -> None:
        set_level(verbose=verbose, quiet=quiet)
        function(**given)

    shared = {"verbose": (Verbose, 0), "quiet": (Quiet, False)}
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in shared.items()
    ]
    signature = inspect.signature(function)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *more])  # type: ignore[attr-defined]
    run.__annotations__ = {**function.__annotations__, **{name: kind for name, (kind, _) in shared.items()}}
    return run


Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, metavar="", help="Log more to stderr (-vv: even more).")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only, and show no progress.")]


def _folder(word: str) -> Path:
    if not word.strip():
        raise typer.BadParameter("the folder's name is empty")
    return Path(word)


BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", parser=_folder, help="Folder of a bundle.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout instead of text.")]
Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", "-p", metavar="TEXT", help="Profile to build (see `vitrify profiles`); repeatable."),
]
Revision = Annotated[str | None, typer.Option(metavar="TEXT", help="Branch, tag or commit of a Hub id.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the checkpoint's own Python code during export.")
]
Sm = Annotated[
    str | None,
    typer.Option(
        "--sm", metavar="TEXT", help="Compute capabilities, e.g. 86,89,120 (default: portable, one engine for all)."
    ),
]
EngineBuilder = Annotated[
    str | None,
    typer.Option("--builder", metavar="TEXT", help="Engine builder: tensorrt-rtx (default) or tensorrt."),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shapes", metavar="TEXT", help="Optimization range of an axis, e.g. sequence=1:128:512; repeatable."
    ),
]
Timeout = Annotated[float, typer.Option(metavar="SECONDS", help="Time limit of one build.")]
Memory = Annotated[float | None, typer.Option(metavar="GB", help="Memory limit of one build.")]
EngineProfiles = Annotated[
    list[str] | None,
    typer.Option(
        "--profile", "-p", metavar="TEXT", help="Profile of the bundle (default: all with engines); repeatable."
    ),
]
MaxDrift = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        min=0,
        help="For profile auto: largest accepted max relative error against PyTorch (default: 0.05).",
    ),
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Load pickled weights, in a child process without network access.")
]
Threads = Annotated[
    int | None, typer.Option(metavar="INTEGER", min=1, help="Intra-op threads (default: available cores).")
]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", "-V", help="Show the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
