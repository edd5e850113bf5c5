"""How the options of a grid are read: sizes by axis, whole numbers, rates; it measures nothing."""

from collections.abc import Iterable, Mapping

from ..bench.workload import NEW
from ..runtime.errors import UsageError

_OPTIONS = {"--batch": "batch", "--sequence": "sequence", "--new-tokens": NEW}


def read_sizes(options: Mapping[str, str | None], others: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return sizes by axis: `options` are --batch and the like with what was given, `others` words as height=224,384.

    Raises UsageError for a word that is none, or an axis that is given twice.
    """
    sizes = {_OPTIONS[name]: read_numbers(name, text) for name, text in options.items() if text is not None}
    for word in others:
        axis, sign, text = word.partition("=")
        if not sign or axis in sizes:
            why = "is given twice" if sign else "is not a size"
            raise UsageError(f"--size: '{word}' {why}; expected an axis and its sizes, such as height=224,384")
        sizes[axis] = read_numbers("--size", text)
    return sizes


def read_names(option: str, text: str | None) -> list[str]:
    """Return the names with commas between, none of them twice; raise UsageError where one is empty."""
    names = [] if text is None else [word.strip() for word in text.split(",")]
    if not all(names):
        raise UsageError(f"{option}: got '{text}', expected names with commas between")
    return list(dict.fromkeys(names))


def read_numbers(option: str, text: str) -> tuple[int, ...]:
    """Return whole numbers of at least 1 with commas between; raise UsageError for anything else."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"{option}: got '{text}', expected whole numbers of at least 1, such as 1,8")
    return tuple(map(int, words))


def read_rates(text: str | None) -> tuple[float, ...]:
    """Return requests per second, comma-separated; `auto` is 0, shares of the closed loop's throughput."""
    if text is None:
        return ()
    try:
        rates = tuple(0.0 if word == "auto" else float(word) for word in text.split(","))
    except ValueError:
        rates = (-1.0,)
    if any(not 0 <= rate < float("inf") for rate in rates):
        raise UsageError(f"--rate: got '{text}', expected requests per second such as 5,20, or auto")
    return rates
