"""The command on the user's cache: list, remove, prune, verify."""

from typing import Annotated

import typer

from .app import MACHINE, Json, command
from .combinations import only_with
from .output import conclude

ACTIONS = ("ls", "rm", "prune", "verify")


@command(MACHINE, example="vitrify cache rm bundles/3f2a")
def cache(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="ls, rm, prune or verify.")] = "ls",
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAMES", help="Entries: a kind, KIND/KEY, the beginning of a key, or a model's name."),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0, help="For prune: remove what was not used for so long (default: 30)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List, remove, prune or verify compiled checkpoints, downloads and tuned choices in the cache."""
    from ..runtime.sources.cache import list_cache
    from .describe.cache import DESCRIPTIONS, require_whole

    only_with("--days", "prune", given=days is not None, met=action == "prune")
    if action not in ACTIONS:
        raise typer.BadParameter(f"ACTION: got '{action}', expected one of {', '.join(ACTIONS)}")
    document, lines = DESCRIPTIONS[action](list_cache(), names or [], 30.0 if days is None else days)
    conclude(document, lines, lambda: require_whole(document), as_json=as_json)
