"""Run a list of passes on a graph: the graph remembers their names, and an error says which one raised it.

It knows no pass; a pass is a function whose parameters are bound, and its name is the function's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import onnx_ir

from ...runtime.errors import ExportError, VitrifyError

Pass = Callable[[onnx_ir.Model], onnx_ir.Model | None]
Passes = tuple[Pass, ...]
# Where a graph keeps the names; it is written into no file.
_NAMES = "vitrify.passes"


class Refusal(Exception):  # noqa: N818 - an answer, no failure: who ran the passes goes another way
    """A graph is not of the form that a pass is for; the reason is the message."""


def run_passes(graph: onnx_ir.Model, passes: Sequence[Pass], *, name: str) -> onnx_ir.Model:
    """Return the graph after each pass in turn: the one given, changed in place, unless a pass returns another.

    `name` is what errors call the graph.

    Raises
    ------
    Refusal, VitrifyError
        What a pass raises, of the same class, with the names of the pass and the graph before its message.
    ExportError
        A pass raised anything else, but for OSError and MemoryError, which are the machine's.

    """
    for one in passes:
        names = passes_of(graph)
        with _named(name_of(one), name):
            made = one(graph)
        graph = made if made is not None else graph
        graph.graph.meta[_NAMES] = (*names, name_of(one))
    return graph


def passes_of(graph: onnx_ir.Model) -> tuple[str, ...]:
    """Return the names of the passes that the graph, and what it was copied from, has gone through, in order."""
    return graph.graph.meta.get(_NAMES, ())


def name_of(one: Pass) -> str:
    """Return the name of a pass: its function's."""
    return one.func.__name__ if isinstance(one, partial) else one.__name__


@contextmanager
def _named(name: str, graph: str) -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError):
        raise
    except (Refusal, VitrifyError) as error:
        raise type(error)(f"pass {name} does not support graph '{graph}': {error}") from error
    except Exception as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ExportError(f"pass {name} fails on graph '{graph}': {type(error).__name__}: {reason}") from error
