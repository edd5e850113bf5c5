"""The command that publishes a bundle: `push`."""

import sys
from typing import Annotated

import typer

from .app import MODELS, BundleFolder, Json, command
from .logs import is_quiet
from .output import print_document


@command(MODELS, example="vitrify push minilm me/minilm --dry-run")
def push(
    bundle: BundleFolder,
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="Repository of the Hub: OWNER/NAME.")],
    public: Annotated[bool, typer.Option("--public", help="Create a public repository (default: private).")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and send nothing.")] = False,
    revision: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Branch, created if it is missing (default: main).")
    ] = None,
    message: Annotated[str | None, typer.Option(metavar="TEXT", help="Message of the commit.")] = None,
    as_json: Json = False,
) -> None:
    """Upload a bundle to a repository of the Hub, private by default."""
    from rich.table import Table

    from ..runtime.amounts import size_text
    from ..runtime.publishing.push import push_bundle

    shown = not as_json and not is_quiet() and sys.stderr.isatty()
    pushed = push_bundle(
        bundle, repository, public=public, revision=revision, message=message, dry_run=dry_run, progress=shown
    )
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    for name, size in pushed.files.items():
        table.add_row(size_text(size), name)
    kind = "public" if pushed.public else "private"
    total = f"{len(pushed.files)} files, {size_text(sum(pushed.files.values()))}"
    where = f"{pushed.repository} ({kind}, {pushed.revision})"
    removed = [f"removed: {', '.join(pushed.removed)}"] if pushed.removed else []
    lines = [f"{bundle} to {where}: {total}, nothing was sent", table] if dry_run else [f"{where}: {total}", *removed]
    print_document(vars(pushed), [*lines, *([pushed.url] if pushed.url else [])], as_json=as_json)
