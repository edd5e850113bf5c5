"""What every command prints: lines or one JSON document on stdout, errors and progress on stderr."""

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from ..runtime.errors import VitrifyError
from .streams import has_failed, tell

if TYPE_CHECKING:
    from rich.table import Table

_FAILURES = 3  # comparisons that a verdict names
_PLAIN = 1e-3  # tolerances from here on are not written with an exponent
_WIDE = 10_000  # columns; no table is as wide


def failed(message: str, code: int, *, as_json: bool) -> int:
    line = " ".join(message.split())
    if as_json:
        with contextlib.suppress(OSError):  # what cannot be written is said on stderr
            print(json.dumps({"error": line, "exit_code": code}, ensure_ascii=False), flush=True)
    tell(line)
    return code


def print_document(document: dict[str, Any], parts: Sequence["str | Table"], *, as_json: bool) -> None:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    say(
        json.dumps(document, indent=1, ensure_ascii=False, default=str)
        if as_json
        else "\n".join(text_lines(parts, width=width))
    )


def text_lines(parts: Sequence["str | Table"], *, width: int | None = None) -> Iterator[str]:
    """Yield texts as they are, and tables within `width` columns where their figures fit, without styles."""
    for part in parts:
        if isinstance(part, str):
            yield part
        else:
            yield from _table_lines(part, width)


def _table_lines(table: "Table", width: int | None) -> Iterator[str]:
    from rich.console import Console

    console = Console(width=_WIDE, color_system=None, markup=False, emoji=False, highlight=False)
    needed = console.measure(table)
    console.width = max(needed.minimum, min(needed.maximum, width or needed.maximum))
    with console.capture() as captured:
        console.print(table)
    yield from (line.rstrip() for line in captured.get().splitlines())


def say(text: str) -> None:
    """Print at once; a reader that has gone away (`| head`) ends the command without complaint."""
    try:
        print(text, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and not has_failed():
            raise
        raise typer.Exit from None  # `main` says what could not be written


def conclude(
    document: dict[str, Any], parts: Sequence["str | Table"], check: Callable[[], None], *, as_json: bool
) -> None:
    """Print what was found, and exit with what `check` raises: one document in JSON even then."""
    try:
        check()
    except VitrifyError as error:
        print_document({**document, "error": str(error), "exit_code": error.exit_code}, parts, as_json=as_json)
        raise typer.Exit(failed(str(error), error.exit_code, as_json=False)) from None
    print_document(document, parts, as_json=as_json)


def parity_lines(profiles: Any) -> Iterator[str]:
    for name, item in profiles.items():
        worst = item["worst"]
        yield (
            f"  {name}: {'PASS' if item['passed'] else 'FAIL'}, max abs error {worst['difference']:.1e} "
            f"(tolerance {_short(worst['limit'])}), {item['compared']} comparisons"
            f"{'; emulated on this CPU, not verified on its device' if item.get('emulated') else ''}"
        )
        yield from (f"    {failure}" for failure in item["failed"][:_FAILURES])


def _short(limit: float) -> str:
    """Return 0.0001 as 1e-4 and 0.05 as it is."""
    mantissa, _, exponent = f"{limit:.1e}".partition("e")
    return f"{limit:.2g}" if limit >= _PLAIN else f"{mantissa.removesuffix('.0')}e{int(exponent)}"


@contextmanager
def progress_shown(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield what takes step names; it shows them on a terminal only."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
