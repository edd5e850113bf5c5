"""What a tokenizer is called with: texts in their several forms, padding and truncation; knows no vocabulary."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...errors import UsageError

Text = str | Sequence[str] | Sequence[Sequence[str]] | Sequence[Sequence[Sequence[str]]]

PADDING = {False: None, "do_not_pad": None, True: "longest", "longest": "longest", "max_length": "max_length"}
TRUNCATION = {False: None, "do_not_truncate": None, True: "longest_first"}
TRUNCATION |= {name: name for name in ("longest_first", "only_first", "only_second")}
FORMS = {
    False: "a str, a pair of str, or a list of these",
    True: "a list of words, a pair of such lists, or a list of these",
}


def choose(table: Mapping[Any, str | None], *, name: str, value: Any) -> str | None:
    """The strategy that an argument's value names; None for none."""
    if not isinstance(value, bool | str) or value not in table:
        raise UsageError(f"{name}={value!r}; allowed: {', '.join(map(repr, table))}")
    return table[value]


def count(value: Any, *, name: str, least: int = 0) -> int:
    """The value, which is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UsageError(f"{name}={value!r}; allowed: a whole number from {least} on")
    return value


def rows_of(text: Any, *, pair: Any, words: bool) -> list[Any]:
    """One item a row, as `tokenizers` takes them: a text or a pair, of str or, with `words`, of lists of words.

    UsageError: anything else, or pairs that are not as many as the texts.
    """
    rows = _paired(text, pair=pair, words=words)
    is_text = _is_words if words else _is_str
    for index, row in enumerate(rows):
        if not (is_text(row) or (isinstance(row, list | tuple) and len(row) == 2 and all(map(is_text, row)))):
            got = "None" if row is None else f"{type(row).__name__} {_shortened(row)}"
            raise UsageError(f"text {index} is {got}; allowed: {FORMS[words]}, with is_split_into_words={words}")
    return rows


def find_surrogate(rows: Sequence[Any]) -> str | None:
    """A sentence on the first text that is no valid Unicode; None where all are."""
    for index, row in enumerate(rows):
        for text in _flat(row):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                half = text[error.start]
                return (
                    f"text {index} has a lone surrogate {half!r} at character {error.start}, half of a character: "
                    "decode the text with errors='replace'"
                )
    return None


def _paired(text: Any, *, pair: Any, words: bool) -> list[Any]:
    is_batch = isinstance(text, list | tuple)
    if words:
        is_batch = is_batch and bool(text) and isinstance(text[0], list | tuple)
    if not is_batch:
        return [(text, pair)] if pair else [text]
    if pair is None:
        return list(text)
    if not isinstance(pair, list | tuple) or len(pair) != len(text):
        got = f"{len(pair)}" if isinstance(pair, list | tuple) else f"a {type(pair).__name__}"
        raise UsageError(f"text_pair must be a list as long as text ({len(text)}), got {got}")
    return list(zip(text, pair, strict=True))


def _is_str(text: Any) -> bool:
    return isinstance(text, str)


def _is_words(text: Any) -> bool:
    return isinstance(text, list | tuple) and all(map(_is_str, text))


def _flat(row: Any) -> list[str]:
    return [row] if isinstance(row, str) else [text for item in row for text in _flat(item)]


def _shortened(row: Any) -> str:
    shown = repr(row)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
