"""Batches without padding waste: of a window of inputs, those of like length run together, while the next are read.

It knows no task. Only the graph runs in another thread: inputs and tokenizers are the caller's, and stay in his.
"""

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .pieces import Piece

Run = Callable[[Sequence[tuple[Piece, list[Any]]]], None]

# MiniLM in float32 on 2 cores: batches of 256 tokens take 1.21x as long, 512 1.08x, 2,048 1.09x, 4,096 1.15x, and one
# text at a time 1.46x.
BUDGETS: Mapping[str, int] = {"cpu": 1024, "openvino": 1024}
"""Tokens of one batch by provider, padding included; others take as many rows as batch_size says."""

# Of a window: batches' worth of rows, which leaves a few percent of padding, and values of their largest input, so that
# what waits for its turn stays small: 25 MB of MiniLM's states. Images fill one with a batch.
_BATCHES, _VALUES = 16, 16_384


@dataclass
class Item:
    """An input: its pieces, beside each the list that its output is appended to, or why there is none."""

    pieces: Sequence[Piece] = ()
    error: Exception | None = None
    slots: Sequence[list[Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.slots = [[] for _ in self.pieces]

    def outputs(self) -> list[Any]:
        """Return the outputs of the pieces, in order; raise what reading or running one of them raised."""
        if self.error is not None:
            raise self.error
        return [output for (output,) in self.slots]


@dataclass(frozen=True)
class Limits:
    """The most of a batch: `rows`, and `tokens` including padding (None: any) unless one row alone has more."""

    rows: int
    tokens: int | None = None

    def cut(self, lengths: Sequence[int]) -> Iterator[slice]:
        """Yield the batches of rows that are sorted, longest first."""
        start = 0
        while start < len(lengths):
            fitting = self.rows if not (self.tokens and lengths[start]) else self.tokens // lengths[start]
            batch = slice(start, start + max(1, min(self.rows, fitting)))
            yield batch
            start = batch.stop


class Window:
    """Inputs in a row, whose pieces may run in any order: here, or in a thread that ends with them."""

    def __init__(self, limits: Limits) -> None:
        self.items: deque[Item] = deque()
        self._limits = limits
        self._pieces = self._values = 0
        self._thread: threading.Thread | None = None
        self._main: threading.Thread | None = None
        self._is_stopped = False

    def add(self, item: Item) -> None:
        self.items.append(item)
        self._pieces += len(item.pieces)
        self._values += sum(max((array.size for array in piece.feeds.values()), default=0) for piece in item.pieces)

    @property
    def is_full(self) -> bool:
        rows = self._limits.rows
        return self._pieces >= rows * _BATCHES or (self._pieces >= rows and self._values >= _VALUES)

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def _is_over(self) -> bool:
        """Whether nobody waits for what has not run: the stream was closed, or the process is about to exit."""
        return self._is_stopped or (self._main is not None and not self._main.is_alive())

    def run(self, run: Run) -> None:
        """Run the pieces; one that fails is the error of all inputs in its batch."""
        rows = [(_length(piece), piece, slot, item) for item in self.items for piece, slot in _beside(item)]
        # Longest first: what is too large for the memory shows at once, and later batches fit into what the first took.
        rows.sort(key=lambda row: -row[0])
        for batch in self._limits.cut([length for length, *_ in rows]):
            if self._is_over:
                return
            try:
                run([(piece, slot) for _, piece, slot, _ in rows[batch]])
            except Exception as error:  # noqa: BLE001 - it is raised at its item's turn
                for *_, item in rows[batch]:
                    item.error = item.error or error

    def start(self, run: Run) -> None:
        """Run the pieces in a thread, which ends with them: none is left to end when the process exits."""
        main = threading.main_thread()
        self._main = main if main.is_alive() else None
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self.run, run), name="vitrify batches")
        self._thread.start()

    def finished(self) -> Iterator[Item]:
        """Wait until everything has run; then yield the inputs in order, and let go of each."""
        self.wait()
        while self.items:
            yield self.items.popleft()

    def wait(self) -> None:
        # The garbage collector may close a stream wherever it runs.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def stop(self) -> None:
        """Run no further batch, and wait for the one that runs."""
        self._is_stopped = True
        self.wait()


def in_order(items: Iterable[Item], run: Run, limits: Limits) -> Generator[Item, None, None]:
    """Yield the items in order, with their outputs; at most two windows and one batch are read ahead.

    A window runs in a thread while the next one is read, and while the caller works on the results of the one before.
    """
    before, window = Window(limits), Window(limits)
    try:
        for item in items:
            window.add(item)
            if window.is_full:
                before.wait()
                window.start(run)
                ready, before, window = before, window, Window(limits)
                yield from ready.finished()
            elif before.items and not before.is_running:
                yield from before.finished()
        if before.items:
            before.wait()
            window.start(run)
            ready, before = before, window
            yield from ready.finished()
        else:  # nothing to do beside it
            window.run(run)
        yield from window.finished()
    finally:
        for each in (before, window):
            each.stop()


def _beside(item: Item) -> Iterator[tuple[Piece, list[Any]]]:
    return zip(item.pieces, item.slots, strict=True)


def _length(piece: Piece) -> int:
    """Return what padding would change: the number of tokens; 0 for what has none."""
    return len(piece.feeds["input_ids"]) if "input_ids" in piece.feeds else 0
