"""The `vitrify` command itself, and the options that several commands share."""

from typing import Annotated

import typer

from ..version import __version__

app = typer.Typer(
    name="vitrify",
    help="Compile a Hugging Face checkpoint once; run it anywhere through pipeline(), without PyTorch.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else.")]
Profiles = Annotated[
    list[str] | None, typer.Option("--profile", "-p", help="Deployment target; may be given several times.")
]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub id.")]
TrustRemoteCode = Annotated[bool, typer.Option(help="Run the checkpoint's own Python code while exporting.")]
Sm = Annotated[
    str | None,
    typer.Option("--sm", help="Compute capabilities, as 86,89,120 (default: portable, one engine for all)."),
]
EngineBuilder = Annotated[str, typer.Option("--builder", help="What builds engines: tensorrt-rtx or tensorrt.")]
Shapes = Annotated[
    list[str] | None, typer.Option("--shapes", help="A range in place of the profile's, as sequence=1:128:512.")
]
Timeout = Annotated[float, typer.Option(help="Seconds that one build may take.")]
Memory = Annotated[float | None, typer.Option(help="Gigabytes that one build may take.")]
EngineProfiles = Annotated[
    list[str] | None, typer.Option("--profile", "-p", help="A profile of the bundle (default: all that have engines).")
]
MaxDrift = Annotated[
    float | None,
    typer.Option(help="For profile auto: the largest drift from PyTorch, over the outputs' largest magnitude (0.05)."),
]
AllowPickle = Annotated[bool, typer.Option(help="Load pickled weights, in a child process without network.")]


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit
