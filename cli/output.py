"""What every command prints: lines or one JSON document on stdout, errors and progress on stderr."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ..runtime.errors import VitrifyError


def failed(message: str, code: int, *, as_json: bool) -> int:
    line = " ".join(message.split())
    if as_json:
        print(json.dumps({"error": line, "exit_code": code}, ensure_ascii=False))
    print(f"vitrify: {line}", file=sys.stderr)
    return code


def print_document(document: dict[str, Any], lines: list[str], *, as_json: bool) -> None:
    say(json.dumps(document, indent=1, ensure_ascii=False, default=str) if as_json else "\n".join(lines))


def say(text: str) -> None:
    """Print at once; a reader that has gone away (`| head`) ends the command without complaint."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit from None


def conclude(document: dict[str, Any], lines: list[str], check: Callable[[], None], *, as_json: bool) -> None:
    """Print what was found, and exit with what `check` raises: one document in JSON even then."""
    try:
        check()
    except VitrifyError as error:
        print_document({**document, "error": str(error), "exit_code": error.exit_code}, lines, as_json=as_json)
        raise typer.Exit(failed(str(error), error.exit_code, as_json=False)) from None
    print_document(document, lines, as_json=as_json)


def parity_lines(profiles: Any) -> Iterator[str]:
    for name, item in profiles.items():
        worst = item["worst"]
        verdict = "the same model" if item["passed"] else "NOT the same model"
        yield (
            f"  {name}: {verdict}: {item['compared']} comparisons with PyTorch, worst {worst['difference']:.2g} "
            f"of {worst['limit']:.2g} allowed ({worst['case']}, {worst['output']})"
            f"{'; emulated on this CPU, not verified on its device' if item.get('emulated') else ''}"
        )


@contextmanager
def progress_shown(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield what takes step names; it shows them on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
