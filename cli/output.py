"""What every command prints: lines or one JSON document on stdout, errors and progress on stderr."""

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from ..runtime.amounts import counted
from ..runtime.errors import UsageError, VitrifyError
from ..runtime.rows.record import Outcome
from ..runtime.steps import duration
from .logs import is_quiet
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


def say(text: str, *, end: str = "\n") -> None:
    """Print at once; a reader that has gone away (`| head`) ends the command without complaint."""
    try:
        print(text, end=end, flush=True)
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
        parts = [f"  {name}: {'PASS' if item['passed'] else 'FAIL'}", *_checked(item)]
        yield ", ".join(parts) + ("; emulated on this CPU, not verified on its device" if item.get("emulated") else "")
        yield from (f"    {failure}" for failure in item["failed"][:_FAILURES])


def _checked(item: Any) -> Iterator[str]:
    """Yield what was compared, and how far off it was: with PyTorch, then with the export's own outputs."""
    worst, quality, identity = item["worst"], item.get("quality"), item.get("identity")
    yield f"max abs error {worst['difference']:.1e} (tolerance {_short(worst['limit'])})"
    yield counted(item["compared"], "comparison")
    if quality is not None:
        yield (f"top-1 agreement {quality['agreement']:.1%} (at least {quality['least_agreement']:.0%})")
        yield f"KL {quality['kl_mean']:.2g} nats (at most {_short(quality['most_kl_mean'])})"
    if identity is not None and identity["checked"]:
        limit = _percent(identity["tolerance"])
        yield f"{_percent(identity['difference'])} from the exported outputs (at most {limit})"
    elif identity is not None:
        yield f"identity not checked: {identity['reason']}"


def _percent(share: float) -> str:
    return f"{100 * share:.2g}%"


def _short(limit: float) -> str:
    """Return 0.0001 as 1e-4 and 0.05 as it is."""
    mantissa, _, exponent = f"{limit:.1e}".partition("e")
    return f"{limit:.2g}" if limit >= _PLAIN else f"{mantissa.removesuffix('.0')}e{int(exponent)}"


@dataclass
class Outputs:
    """How the outputs of many inputs are printed: as they go, or, in the `form` "json", in one `document`."""

    document: dict[str, Any]
    form: str
    with_input: bool = False
    keep_going: bool = False
    is_streamed: bool = False

    @property
    def to_terminal(self) -> bool:
        """Whether someone reads along."""
        return self.form == "text" and sys.stdout.isatty()

    def show(self, outcome: Outcome) -> None:
        """Print one output; without a form its error is told on stderr, and null stands in its place."""
        from ..runtime.rows.writing import json_line, json_text

        if self.form == "jsonl":
            say(json_line(outcome, with_input=self.with_input and isinstance(outcome.row.value, str)))
        elif self.form == "text" and outcome.error is not None:
            print(f"vitrify: {outcome.error}", file=sys.stderr)
            say("null")
        elif self.form == "text" and not self.is_streamed:
            say(json_text(outcome.output))


def written(outcomes: Iterable[Outcome], outputs: Outputs) -> None:
    """Print the outputs; at the end raise UsageError if inputs were bad, or at once the error of the first."""
    bad, count, results = [], 0, []
    for outcome in outcomes:
        count += 1
        if outcome.error is not None:
            bad.append(outcome)
        if outcome.error is not None and not outputs.keep_going:
            break
        outputs.show(outcome)
        if outputs.form == "json":
            results.append(outcome.output)
    document = {**outputs.document, "results": results}
    if outputs.keep_going:
        document["errors"] = [{"number": each.row.number, "error": str(each.error)} for each in bad]
    if outputs.form == "json":
        conclude(document, [], lambda: _require_good(bad, count, outputs), as_json=True)
    else:
        _require_good(bad, count, outputs)


def _require_good(bad: Sequence[Outcome], count: int, outputs: Outputs) -> None:
    if bad and outputs.keep_going:
        raise UsageError(f"{len(bad)} of {counted(count, 'input')} failed")
    if bad and bad[0].error is not None:
        raise bad[0].error


@contextmanager
def rate_shown() -> Iterator[Callable[[Iterable[Outcome]], Iterator[Outcome]]]:
    """Yield what passes outcomes on; meanwhile stderr shows how many there are, their rate and the time left.

    Only where stderr is a terminal, and stdout is not: what is printed there says enough.
    """
    if is_quiet() or not sys.stderr.isatty() or sys.stdout.isatty():
        yield iter
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        start = time.monotonic()

        def counted(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
            for number, outcome in enumerate(outcomes, 1):
                yield outcome
                status.update(rate_text(number, time.monotonic() - start, outcome.row.share))

        yield counted


def rate_text(count: int, seconds: float, share: float | None) -> str:
    """Return how many inputs are done, how many a second, and about how long the rest takes."""
    rate = f"{count} done, {count / max(seconds, 1e-9):.3g}/s"
    return rate if not share else f"{rate}, about {duration(seconds * (1 - share) / share)} left"


@contextmanager
def progress_shown(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield what takes the steps: a terminal shows the one under way, anything else gets a line for each."""
    if quiet or is_quiet():
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield lambda step: print(step, file=sys.stderr, flush=True)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


def detail_of(progress: Callable[[str], None]) -> Callable[[str], None]:
    """Return what takes the parts of a step: a terminal shows them in the step's place, a log has only steps."""
    return progress if sys.stderr.isatty() else lambda _: None
