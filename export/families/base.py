"""What a family adds to its row to be exported: how its graphs are traced, and what they are compared on.

It knows no architecture; what differs between those comes from the config class and the model's forward signature.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import onnx_ir

from ...runtime.graphs.families import FAMILIES
from ...runtime.graphs.families import Family as Row
from ..checkpoint.opened import Checkpoint
from ..verification.plan import Oracle, Plan


class Family(ABC):
    """One topology, named as its row of the runtime's table: `graphs` maps each graph's name to its file.

    `shared` maps some to the graph whose weights they use, `only` some to the one provider that runs them.
    """

    name: ClassVar[str]
    graphs: ClassVar[Mapping[str, str]]
    shared: ClassVar[Mapping[str, str]] = MappingProxyType({})
    only: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @property
    def row(self) -> Row:
        """What the runtime knows of it."""
        return FAMILIES[self.name]

    def file(self, graph: str, *, suffix: str) -> str:
        """Return the path, in the bundle, of a graph's variant."""
        return self.graphs[graph].format(suffix=suffix)

    @abstractmethod
    def oracle(self, checkpoint: Checkpoint) -> Oracle:
        """Return the reference for this checkpoint."""

    @abstractmethod
    def plans(self, checkpoint: Checkpoint, oracle: Any) -> Iterator[Plan]:
        """Yield the plans for this checkpoint, the one that leaves most axes dynamic first."""

    @abstractmethod
    def trace(self, checkpoint: Checkpoint, plan: Plan, *, opset: int, ir_version: int) -> dict[str, onnx_ir.Model]:
        """Return the graphs that can be made, by name; raise ExportError if the model cannot be traced."""
