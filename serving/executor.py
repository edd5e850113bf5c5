"""One thread that runs every graph of a server: the piece that is due first goes first, rows of many requests together.

Whoever has a graph to run hands it over as a piece and waits: a batch of rows, or one step of something longer, so that
requests interleave piece by piece. It knows neither models nor protocols.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")
# Of a batch that costs padding: how much of it may be none, unless it is so small that a run costs as much anyway.
_PADDING, _SMALL = 0.15, 256


class Gone(Exception):  # noqa: N818 - reads as what it is
    """Nobody waits for the request any more."""


class TooLate(Exception):  # noqa: N818
    """The request's deadline passed before its work was done."""


@dataclass
class Ticket:
    """A request: `patience` is the seconds that it may take, `key` who asks, `is_gone` whether nobody waits any more.

    `queued` and `running` are seconds, `tokens` what was run for it, `pieces` how often.
    """

    patience: float
    key: str = ""
    is_gone: bool = False
    came: float = field(default_factory=time.monotonic)
    queued: float = 0.0
    running: float = 0.0
    tokens: int = 0
    pieces: int = 0

    @property
    def deadline(self) -> float:
        """When it must be answered, on the monotonic clock."""
        return self.came + self.patience

    def check(self, now: float) -> None:
        """Raise where its work is of no use any more."""
        if self.is_gone:
            raise Gone
        if now > self.deadline:
            raise TooLate


# The request that this thread or task works for; what runs without one is of the server itself.
CURRENT: ContextVar[Ticket | None] = ContextVar("vitrify_ticket", default=None)


class Rows(Protocol):
    """A model whose rows may share a run: at most `most` of them, and `budget` tokens with padding (None: any)."""

    most: int
    budget: int | None

    def run_now(self, rows: Sequence[Any]) -> list[Any]:
        """Run rows as one batch and return the outputs of each."""
        ...


@dataclass
class _Piece:
    """Work that waits: `run` for itself, or `rows` of a model, each `length` tokens long at most."""

    ticket: Ticket
    run: Callable[[], Any] | None = None
    model: Rows | None = None
    rows: Sequence[Any] = ()
    length: int = 0
    tokens: int = 0
    since: float = field(default_factory=time.monotonic)
    done: Future[Any] = field(default_factory=Future)

    @property
    def due(self) -> float:
        """What comes first: each piece of a request is due as long after it was handed over as the request may take."""
        return self.since + self.ticket.patience


class Executor:
    """The thread, and what waits for it. `close` ends it; what still waits then is told that nobody runs it."""

    def __init__(self) -> None:
        self._waiting: list[_Piece] = []
        self._changed = threading.Condition()
        self.is_closed = False
        self.dropped = 0  # pieces that were not run, as nobody waited or it was too late
        self.runs = 0
        self._thread = threading.Thread(target=self._work, name="vitrify executor", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many pieces wait."""
        return len(self._waiting)

    @property
    def tokens(self) -> int:
        """How many tokens wait."""
        with self._changed:
            return sum(piece.tokens for piece in self._waiting)

    def run(self, call: Callable[[], Result]) -> Result:
        """Run one piece of work when it is its turn, and return what it returns.

        Raises
        ------
        Gone, TooLate
            Nobody waits for the request any more, or its deadline has passed: it was not run.

        """
        if threading.current_thread() is self._thread:
            return call()
        return self._done(_Piece(_ticket(), run=call))

    def run_rows(self, model: Rows, rows: Sequence[Any], lengths: Sequence[int]) -> list[Any]:
        """Run rows of a model, those of other requests beside them, and return the outputs of each; raises as `run`."""
        piece = _Piece(_ticket(), model=model, rows=rows, length=max(lengths, default=0), tokens=sum(lengths))
        return self._done(piece)

    def close(self) -> None:
        """Run nothing more, and wait for the piece that runs."""
        with self._changed:
            self.is_closed = True
            self._changed.notify()
        self._thread.join()

    def _done(self, piece: _Piece) -> Any:
        with self._changed:
            if self.is_closed:
                raise Gone
            self._waiting.append(piece)
            self._changed.notify()
        return piece.done.result()

    def _work(self) -> None:
        while batch := self._next():
            self._run_batch(batch)
        for piece in self._waiting:
            piece.done.set_exception(Gone())

    def _next(self) -> list[_Piece]:
        """Wait for work and return it, out of what waits; nothing once closed."""
        with self._changed:
            while True:
                self._drop()
                if self.is_closed:
                    return []
                if self._waiting:
                    batch = _together(min(self._waiting, key=lambda piece: piece.due), self._waiting)
                    self._waiting = [piece for piece in self._waiting if not any(piece is taken for taken in batch)]
                    return batch
                self._changed.wait()

    def _drop(self) -> None:
        """Let go of what is of no use any more."""
        now, kept = time.monotonic(), []
        for piece in self._waiting:
            try:
                piece.ticket.check(now)
                kept.append(piece)
            except (Gone, TooLate) as error:
                self.dropped += 1
                piece.done.set_exception(error)
        self._waiting = kept

    def _run_batch(self, batch: Sequence[_Piece]) -> None:
        begun = time.monotonic()
        try:
            outputs = _run(batch)
        except BaseException as error:  # noqa: BLE001 - it is raised where the work came from
            outputs = error
        finally:
            self.runs += 1
            seconds = time.monotonic() - begun
            for piece in batch:
                ticket = piece.ticket
                ticket.queued += begun - piece.since
                ticket.running += seconds
                ticket.tokens += piece.tokens
                ticket.pieces += 1
        if not isinstance(outputs, BaseException):
            for piece, output in zip(batch, outputs, strict=True):
                piece.done.set_result(output)
        elif len(batch) == 1:
            batch[0].done.set_exception(outputs)
        else:  # whose rows it was shows where each runs for itself
            for piece in batch:
                self._run_batch([piece])


def _run(batch: Sequence[_Piece]) -> list[Any]:
    first = batch[0]
    if first.run is not None:
        return [first.run()]
    assert first.model is not None
    made = iter(first.model.run_now([row for piece in batch for row in piece.rows]))
    return [[next(made) for _ in piece.rows] for piece in batch]


def _ticket() -> Ticket:
    return CURRENT.get() or Ticket(float("inf"))


def _together(first: _Piece, waiting: Sequence[_Piece]) -> list[_Piece]:
    """Return what runs with `first`: pieces of its model of like length, the likest first, as far as it pays."""
    batch, model = [first], first.model
    if model is None:
        return batch
    others = [piece for piece in waiting if piece.model is model and piece is not first]
    rows, tokens, length = len(first.rows), first.tokens, first.length
    for piece in sorted(others, key=lambda piece: (abs(piece.length - first.length), piece.due)):
        rows, tokens, length = rows + len(piece.rows), tokens + piece.tokens, max(length, piece.length)
        padded = rows * length
        wasteful = padded > _SMALL and padded - tokens > _PADDING * padded
        if rows > model.most or (model.budget is not None and padded > model.budget) or wasteful:
            break
        batch.append(piece)
    return batch
