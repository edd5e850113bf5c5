"""One input of many and what became of it; it knows no file and no task."""

from dataclasses import dataclass
from typing import Any

from ..errors import VitrifyError


@dataclass(frozen=True)
class InputRow:
    """An input by its place.

    Attributes
    ----------
    number
        Which of the inputs it is, from 1 on.
    value
        What a pipeline gets; None if there is an `error`.
    where
        Its place as errors name it, such as "texts.jsonl line 7"; "" for the only one.
    id
        The caller's own name for it, None if it has none.
    error
        Why it cannot be read.
    share
        Which part of all inputs ends with it, from 0 to 1; None where nobody knows.

    """

    number: int
    value: Any = None
    where: str = ""
    id: Any = None
    error: VitrifyError | None = None
    share: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a row: its `output`, or the `error` in its place."""

    row: InputRow
    output: Any = None
    error: VitrifyError | None = None
