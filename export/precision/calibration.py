"""Calibration: how large the numbers are that each layer of a portable graph reads, seen while it runs."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx_ir

from ...runtime.errors import ExportError, UsageError, VitrifyError
from ...runtime.graphs.families import FAMILIES
from ...runtime.graphs.signature import Axis
from ...runtime.numerics import Arrays
from ...runtime.sessions import open_session
from ...runtime.sessions.base import Session
from ...runtime.sessions.model import Model
from ...runtime.verification.replay import replayed
from ..checkpoint.opened import Checkpoint
from ..passes.precision.quantize_pairs import HIGHEST, LOWEST, POWER, Magnitude, observe
from ..saving import save_graph
from ..verification.plan import Plan
from ..verification.text import TEXT, text_tokens
from .calibration_inputs import text_rows

# The grid's longest rows say nothing new and take minutes.
_MOST_NUMBERS = 2**20
# What a case of a decoder-only model is made of.
_PROMPTS = {"input_ids", "starts", "chunks"}
Seen = Mapping[str, Magnitude]


class Recorder(Session):
    """A session on an observed graph that keeps what was observed, and hands on the other outputs."""

    def __init__(self, session: Session) -> None:
        outputs = tuple(tensor for tensor in session.outputs if not tensor.name.endswith((HIGHEST, LOWEST, POWER)))
        super().__init__(
            graph=session.graph,
            inputs=session.inputs,
            outputs=outputs,
            providers=session.providers,
            optional=session.optional,
        )
        self._session = session
        self._runs = 0
        self._highest: dict[str, np.ndarray] = {}
        self._lowest: dict[str, np.ndarray] = {}
        self._power: dict[str, np.ndarray] = {}

    @property
    def seen(self) -> Seen:
        """What each observed value was, over all runs; a run counts as much as another."""
        return {
            name: Magnitude(most, self._lowest[name], self._power[name] / self._runs)
            for name, most in self._highest.items()
        }

    def _run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        made = self._session.run(feeds, checked=False)
        self._runs += 1
        for name in [name for name in made if name.endswith(HIGHEST)]:
            value = name.removesuffix(HIGHEST)
            self._highest[value] = np.maximum(self._highest.get(value, -np.inf), made.pop(name))
            self._lowest[value] = np.minimum(self._lowest.get(value, np.inf), made.pop(f"{value}{LOWEST}"))
            self._power[value] = self._power.get(value, 0.0) + made.pop(f"{value}{POWER}")
        return made

    def close(self) -> None:
        self._session.close()


def calibrate(
    checkpoint: Checkpoint, plan: Plan, family: str, graphs: Mapping[str, Path], axes: Mapping[str, Axis]
) -> dict[str, Seen]:
    """Return, for each of the graphs that together run the model, how large what its layers read is, by value's name.

    What runs is what the plan says, or else the parity grid's shorter cases and, for a model that reads text, a text
    and the shortest sequences: attention to one token averages nothing, so what follows it is larger there. Raises
    ExportError if the graphs cannot run it, which those of another plan may.
    """
    recorders = {name: Recorder(_observed(path)) for name, path in graphs.items()}
    (model, *_) = replayed(FAMILIES[family], {name: Model(session, axes) for name, session in recorders.items()})
    for inputs in _inputs(checkpoint, plan):
        try:
            model(**inputs)
        except UsageError as error:
            raise ExportError(f"calibration: {error}") from error
    for _, inputs in plan.shortest if not plan.calibration else ():
        with suppress(VitrifyError):  # shorter than this graph takes, which is found out later
            model(**inputs)
    for session in recorders.values():
        session.close()
    return {name: session.seen for name, session in recorders.items()}


def _observed(path: Path) -> Session:
    """Write the graph with observed layers beside it, under a name that no profile has, and open it."""
    graph, observed = onnx_ir.load(str(path)), path.with_name(f"{path.stem}.observed.onnx")
    observe(graph)
    save_graph(graph, observed)
    return open_session(observed, provider="cpu")


def _inputs(checkpoint: Checkpoint, plan: Plan) -> Iterator[Arrays]:
    cases = [inputs for _, inputs in plan.grid]
    if plan.calibration:
        yield from (_as_case(row, cases[0]) for row in plan.calibration)
        return
    small = [inputs for inputs in cases if sum(array.size for array in inputs.values()) <= _MOST_NUMBERS]
    yield from small or cases[:1]
    if set(cases[0]) == _PROMPTS:
        yield _as_case({"input_ids": text_tokens(checkpoint)}, cases[0])
    elif "input_ids" in cases[0] and "chunks" not in cases[0]:  # an encoder-decoder's answers are tokens of the grid
        lines = [line for line in TEXT.splitlines() if line]
        yield from (_as_case(row, cases[0]) for row in text_rows(checkpoint, lines))


def _as_case(row: Arrays, like: Arrays) -> Arrays:
    """Return one row of a model's input in the form of a case, which gives an encoder-decoder's answers."""
    if set(like) == _PROMPTS:
        ids = row["input_ids"]
        return {"input_ids": ids, "starts": np.zeros(1, np.int64), "chunks": np.array([ids.shape[1]], np.int64)}
    answers = {name: array if name == "chunks" else array[:1] for name, array in like.items() if name not in row}
    return {**row, **answers}
