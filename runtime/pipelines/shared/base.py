"""What every pipeline shares: which inputs are one and which many, batching, padding, and plain results.

A task's own file says how one input becomes pieces and how the pieces' outputs become the result; it holds no state
that a call changes, so that one pipeline serves many threads.
"""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ...errors import UsageError
from ...numerics import Row
from .batching import BUDGETS, Item, Limits, in_order
from .inputs import Results, count_of, inputs_of
from .pieces import Piece

if TYPE_CHECKING:
    from ...loading import LoadedBundle


@dataclass(frozen=True)
class Parameters:
    """Base of a task's parameters: every field is an argument, at init time and per call."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The arguments that the task takes."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; raise UsageError for one that the task does not take.

        None is as good as absent for an argument that is None by default.
        """
        if unknown := sorted(set(options) - set(self.names())):
            raise UsageError(f"'{task}' got an unknown argument '{unknown[0]}'. It accepts: {', '.join(self.names())}")
        given = {k: v for k, v in options.items() if v is not None or getattr(type(self), k, None) is not None}
        return dataclasses.replace(self, **given)


class Pipeline(ABC):
    """A task on a bundle: call it with one input, a list of them, or any iterable (then the result is lazy)."""

    parameters: ClassVar[type[Parameters]]
    # Names of the parameters that may also be given by position, after the input.
    positional: ClassVar[tuple[str, ...]] = ()
    # Whether pieces of many inputs may run in another order, beside the reading of more; else they run as they come.
    reads_ahead: ClassVar[bool] = False

    def __init__(self, loaded: "LoadedBundle", *, task: str, batch_size: int = 1, **options: Any) -> None:
        self.loaded = loaded
        self.task = task
        self.batch_size = _checked_batch_size(batch_size)
        self.options: Any = self.parameters().updated(task, options)
        # As given at init time: results of some tasks are nested by whether an argument came here or per call.
        self.given = frozenset(options)

    @property
    def bundle(self) -> "LoadedBundle":
        """The loaded bundle, by its public name."""
        return self.loaded

    @property
    def model(self) -> Any:
        """The graph as a callable on numpy arrays."""
        return self.loaded.model

    @property
    def tokenizer(self) -> Any:
        """The bundle's tokenizer, or None."""
        return self.loaded.tokenizer

    @property
    def image_processor(self) -> Any:
        """The bundle's image processor, or None."""
        return self.loaded.image_processor

    @property
    def config(self) -> Mapping[str, Any]:
        """The checkpoint's config.json."""
        return self.loaded.config

    @property
    def profile(self) -> str:
        """The name of the profile that runs."""
        return self.loaded.profile.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, bundle={self.loaded.name!r}, profile={self.profile!r})"

    def __call__(
        self,
        inputs: Any,
        *args: Any,
        batch_size: int | None = None,
        num_workers: int | None = None,  # noqa: ARG002 - of transformers: there are no workers here
        **options: Any,
    ) -> Any:
        """Run the task on one input, on a list (result: a list), or lazily on any other iterable or data set.

        Lazy results have a `len()` where the inputs have one.
        With batch_size=1 each result is there before the next input is read. With more, inputs are read ahead and
        those of like length share a batch; results come in the order of the inputs and do not depend on it, but for
        cpu-int8, which scales by all that a batch holds.
        """
        options |= self._named(args, options)
        parameters = self.options.updated(self.task, options)
        size = self.batch_size if batch_size is None else _checked_batch_size(batch_size)
        inputs, parameters = self.arranged(inputs, parameters)
        if self.is_single(inputs):
            return self.shaped(next(self._results(iter([inputs]), parameters, size)), True, options)
        if (items := inputs_of(inputs)) is None:
            raise UsageError(
                f"'{self.task}' expects {self.expects}, a list of them or an iterable, got {type(inputs).__name__}"
            )
        results = self._stream(items, parameters, size, options)
        if isinstance(inputs, (list, tuple)):
            return self.collected(list(results))
        return results if (count := count_of(inputs)) is None else Results(results, count)

    @property
    def can_stream(self) -> bool:
        """Whether a streamer can tell its results as they come."""
        return False

    def streamer(self) -> Any:
        """Return what writes results to standard output as they come, where `can_stream`."""
        raise UsageError(f"'{self.task}' does not stream")

    # What a task says of itself.

    expects: ClassVar[str] = "a text"

    def arranged(self, inputs: Any, parameters: Any) -> tuple[Any, Any]:
        """Return the inputs and parameters after a task moved what belongs to the inputs; most move nothing."""
        return inputs, parameters

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one input."""
        return isinstance(inputs, str)

    @abstractmethod
    def pieces(self, item: Any, parameters: Any) -> Iterator[Piece]:
        """Yield what the graph must run for one input."""

    @abstractmethod
    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: Any) -> Any:
        """Return the result of one input from its pieces and what was kept of their outputs, both in order."""

    def kept(self, piece: Piece, row: Row, parameters: Any) -> Any:  # noqa: ARG002 - for tasks that need less
        """Return what `result` needs of a piece's outputs, in arrays of its own: `row` holds on to the whole batch."""
        return {name: values.copy() for name, values in row.items()}

    def shaped(self, result: Any, single: bool, options: Mapping[str, Any]) -> Any:  # noqa: ARG002 - for tasks that nest
        """Return the result nested as the mirrored pipeline nests it."""
        return result

    def collected(self, results: list[Any]) -> Any:
        """Return the result of a list of inputs."""
        return results

    # The machine room.

    def _named(self, args: Sequence[Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments that were given by position, by name."""
        if len(args) > len(self.positional):
            raise UsageError(
                f"'{self.task}' accepts {len(self.positional)} arguments by position after its input, got {len(args)}"
            )
        named = dict(zip(self.positional, args, strict=False))
        if twice := sorted(set(named) & set(options)):
            raise UsageError(f"'{self.task}' got '{twice[0]}' twice: by position and by name. Keep one")
        return named

    def _stream(
        self, items: Iterator[Any], parameters: Any, size: int, options: Mapping[str, Any]
    ) -> Generator[Any, None, None]:
        """Yield the result of each input, shaped; what runs ahead ends with it."""
        with closing(self._results(items, parameters, size)) as results:
            for result in results:
                yield self.shaped(result, False, options)

    def _results(self, items: Iterator[Any], parameters: Any, size: int) -> Generator[Any, None, None]:
        """Yield one result per item, in order, running pieces of several items together up to `size`."""
        if size == 1 or not self.reads_ahead:
            yield from self._results_as_they_come(items, parameters, size)
            return
        limits = Limits(size, BUDGETS.get(self.loaded.profile.provider))
        read = self._read(items, parameters)
        with closing(in_order(read, lambda batch: self._run(batch, parameters), limits)) as done:
            for item in done:
                yield self.result(item.pieces, item.outputs(), parameters)

    def _read(self, items: Iterator[Any], parameters: Any) -> Iterator[Item]:
        """Yield the items as pieces; one that cannot be read is the last, and its error is raised at its turn."""
        while True:
            try:
                item = Item(list(self.pieces(next(items), parameters)))
            except StopIteration:
                return
            except Exception as error:  # noqa: BLE001 - see above
                yield Item(error=error)
                return
            yield item

    def _results_as_they_come(self, items: Iterator[Any], parameters: Any, size: int) -> Iterator[Any]:
        waiting: list[tuple[list[Piece], list[Any]]] = []
        pending: list[tuple[Piece, list[Any]]] = []

        def finished() -> Iterator[Any]:
            while waiting and len(waiting[0][0]) == len(waiting[0][1]):
                pieces, outputs = waiting.pop(0)
                yield self.result(pieces, outputs, parameters)

        for item in items:
            pieces, outputs = list(self.pieces(item, parameters)), []
            waiting.append((pieces, outputs))
            pending.extend((piece, outputs) for piece in pieces)
            while len(pending) >= size:
                self._run(pending[:size], parameters)
                del pending[:size]
            yield from finished()
        while pending:
            self._run(pending[:size], parameters)
            del pending[:size]
        yield from finished()

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: Any) -> None:
        """Run pieces as one batch and append what is kept of each one's output to the list beside it."""
        rows = self.loaded.run_rows([piece.feeds for piece, _ in pending])
        for (piece, outputs), row in zip(pending, rows, strict=True):
            outputs.append(self.kept(piece, row, parameters))


def _checked_batch_size(size: Any) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise UsageError(f"batch_size must be a whole number of at least 1, got {size!r}")
    return size


def chosen(name: str, value: Any, table: Mapping[str, Any]) -> Any:
    """Return the row of `table` that `value` names; raise UsageError with what is allowed."""
    if not isinstance(value, str) or value.lower() not in table:
        raise UsageError(f"{name} must be one of {', '.join(map(repr, table))}, got {value!r}")
    return table[value.lower()]
