"""A plan: at which inputs a checkpoint is traced, and on which others the graph must then be right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...runtime.graphs.signature import Axis
from ...runtime.numerics import Arrays
from ...runtime.verification.parity import Case

Named = tuple[str, Arrays]


class Oracle(Protocol):
    """What the unpatched PyTorch model answers; it never sees an exported graph."""

    def case(self, name: str, inputs: Arrays) -> Case:
        """Return the inputs as a case, with the reference outputs."""
        ...


@dataclass(frozen=True)
class Plan:
    """One way to export: `traced` is what is traced on, `fixed` are axes that stay numbers, `axes` limits of others.

    `grid` holds the inputs to compare on; `shortest` those that find the smallest sequence, shortest first. `whole`:
    every layer is traced, also those that look alike. `calibration` holds rows that quantizers take scales from, where
    the grid is not to serve. `more` are inputs by which lossy graphs are known again, beside the grid; `text` is what
    low-bit weights are judged on.
    """

    traced: Any
    grid: tuple[Named, ...]
    axes: Mapping[str, Axis]
    fixed: tuple[str, ...] = ()
    shortest: tuple[Named, ...] = field(default=())
    whole: bool = False
    calibration: Sequence[Arrays] = ()
    more: tuple[Named, ...] = ()
    text: Arrays | None = None
