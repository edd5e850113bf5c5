"""Where a result goes: a folder with its JSON, its CSV and the report; and how the command line's words are read."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..runtime.errors import EnvironmentMissing, UsageError
from .result import Result
from .workload import NEW

RESULT = "result.json"
_OPTIONS = {"--batch": "batch", "--sequence": "sequence", "--new-tokens": NEW}


def prepared_folder(folder: Path) -> Path:
    """Return the folder, made if it is not there; raise EnvironmentMissing where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise EnvironmentMissing(f"'{folder}' cannot be written ({error.strerror}): give another by -o") from error
    return folder


def write_outputs(result: Result, folder: Path) -> dict[str, str]:
    """Write result.json, result.csv and report.html, and return their paths; EnvironmentMissing on a full disk."""
    from .report import html_report

    paths = {"json": folder / RESULT, "csv": folder / "result.csv", "html": folder / "report.html"}
    try:
        result.write(paths["json"])
        paths["csv"].write_text(result.to_csv(), encoding="utf-8")
        paths["html"].write_text(html_report(result), encoding="utf-8")
    except OSError as error:
        raise EnvironmentMissing(f"the result cannot be written to '{folder}' ({error.strerror})") from error
    return {name: str(path) for name, path in paths.items()}


def read_sizes(options: Mapping[str, str | None], others: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return sizes by axis: `options` are --batch and the like with what was given, `others` words as height=224,384.

    Raises UsageError for a word that is none, or an axis that is given twice.
    """
    sizes = {_OPTIONS[name]: read_numbers(name, text) for name, text in options.items() if text is not None}
    for word in others:
        axis, sign, text = word.partition("=")
        if not sign or axis in sizes:
            why = "is given twice" if sign else "is no size"
            raise UsageError(f"--size: '{word}' {why}; expected an axis and its sizes, such as height=224,384")
        sizes[axis] = read_numbers("--size", text)
    return sizes


def read_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return whole numbers of at least 1 with commas between; raise UsageError for anything else."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"{option}: got '{text}', expected whole numbers of at least 1, such as 1,8")
    return tuple(map(int, words))


def read_rates(text: str | None) -> tuple[float, ...]:
    """Return arrivals a second, with commas between; `auto` is 0, shares of what is served in a closed loop."""
    if text is None:
        return ()
    try:
        rates = tuple(0.0 if word == "auto" else float(word) for word in text.split(","))
    except ValueError:
        rates = (-1.0,)
    if any(not 0 <= rate < float("inf") for rate in rates):
        raise UsageError(f"--rate: got '{text}', expected arrivals a second such as 5,20, or auto")
    return rates
