"""The families: topologies of graphs with the names of their axes. An architecture never appears here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Axes = dict[str, dict[int, str]]


@dataclass(frozen=True)
class Family:
    """One topology: `graphs` maps each graph's name to its file, `axes` each kind of input to its axes by position."""

    name: str
    graphs: Mapping[str, str]
    axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    def file(self, graph: str, *, suffix: str) -> str:
        """Return the path, in the bundle, of a graph's variant."""
        return self.graphs[graph].format(suffix=suffix)

    def axes_of(self, inputs: Iterable[str], *, fixed: Iterable[str] = ()) -> Axes:
        """Return the named axes of these inputs, without the `fixed` ones."""
        without = set(fixed)
        return {
            name: {position: axis for position, axis in self.axes[name].items() if axis not in without}
            for name in inputs
        }


_TOKENS = {0: "batch", 1: "sequence"}

ENCODER = Family(
    name="encoder",
    graphs={"model": "onnx/model{suffix}.onnx"},
    axes={
        "input_ids": _TOKENS,
        "attention_mask": _TOKENS,
        "token_type_ids": _TOKENS,
        "pixel_values": {0: "batch", 2: "height", 3: "width"},
    },
)
