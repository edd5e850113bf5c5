"""Rows through a pipeline, in order, going on after a bad one; it knows no pipeline's class."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

from ..errors import DependencyMissing, EnvironmentMissing, UnsupportedError, UsageError, VitrifyError
from .record import InputRow, Outcome

# What may be wrong with one row and right with the next.
_OF_A_ROW = (UsageError, UnsupportedError, EnvironmentMissing)
# A pipeline: inputs one after another, to results in their order.
Call = Callable[[Iterator[Any]], Iterator[Any]]


def run_rows(call: Call, rows: Iterable[InputRow]) -> Iterator[Outcome]:
    """Yield what becomes of each row, in order; the caller stops at an error or goes on.

    After an error the first row without an outcome runs alone: it is either the bad one, or one that waited with it.
    Raises what is no row's fault: a missing package, a broken bundle, inputs that end with an error.
    """
    feed = _Feed(rows)
    while feed.has_more():
        try:
            yield from _until_a_bad_one(call, feed)
        except _OF_A_ROW as error:
            if isinstance(error, DependencyMissing) or not feed.waiting:
                raise
            yield _alone(call, feed.waiting.popleft())


class _Feed:
    """Rows in order; those that were read and have no outcome are `waiting`, and come first the next time."""

    def __init__(self, rows: Iterable[InputRow]) -> None:
        self.waiting: deque[InputRow] = deque()
        self._rows = iter(rows)
        self._again: deque[InputRow] = deque()
        self._ended: VitrifyError | None = None

    def has_more(self) -> bool:
        self._again.extendleft(reversed(self.waiting))
        self.waiting.clear()
        following = self._next()
        if following is None and self._ended is not None:
            raise self._ended
        self._again.extendleft([] if following is None else [following])
        return following is not None

    def values(self) -> Iterator[Any]:
        """Yield the values of rows up to the first that cannot be read, or the end."""
        while (row := self._next()) is not None:
            self.waiting.append(row)
            if row.error is not None:
                return
            yield row.value

    def _next(self) -> InputRow | None:
        if self._again:
            return self._again.popleft()
        try:
            return next(self._rows, None)
        except VitrifyError as error:  # raised when the rows before it have their outcomes
            self._ended = error
            return None


def _until_a_bad_one(call: Call, feed: _Feed) -> Iterator[Outcome]:
    results: Any = call(feed.values())
    with closing(results):
        for result in results:
            yield Outcome(feed.waiting.popleft(), result)
    if feed.waiting:
        row = feed.waiting.popleft()
        yield Outcome(row, error=row.error)


def _alone(call: Call, row: InputRow) -> Outcome:
    if row.error is not None:
        return Outcome(row, error=row.error)
    try:
        return Outcome(row, next(call(iter([row.value]))))
    except DependencyMissing:
        raise
    except _OF_A_ROW as error:
        return Outcome(row, error=type(error)(f"{row.where}: {error}" if row.where else str(error)))
