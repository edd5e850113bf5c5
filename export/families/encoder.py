"""Encoders: one graph, from tokens or pixels to hidden states or logits."""

from collections.abc import Iterable, Iterator
from typing import Any

import onnx_ir
import torch

from ...runtime.graphs.signature import MASK, dynamic_axes
from ..checkpoint.opened import Checkpoint
from ..tracing.tracer import Axes, graph_from_model
from ..verification.grids import plans_for
from ..verification.oracle import ForwardOracle
from ..verification.plan import Plan
from .base import Family


class EncoderFamily(Family):
    """One forward call of the model is the graph."""

    name = "encoder"
    graphs = {"model": "onnx/model{suffix}.onnx"}  # noqa: RUF012 - a constant of the class

    def oracle(self, checkpoint: Checkpoint) -> ForwardOracle:
        return ForwardOracle(checkpoint)

    def plans(self, checkpoint: Checkpoint, oracle: Any) -> Iterator[Plan]:
        return plans_for(checkpoint, oracle)

    def trace(self, checkpoint: Checkpoint, plan: Plan, *, opset: int, ir_version: int) -> dict[str, onnx_ir.Model]:
        graph = graph_from_model(
            checkpoint.traced,
            {name: torch.from_numpy(value) for name, value in plan.traced.items()},
            axes=_axes_of(plan.traced, fixed=plan.fixed),
            outputs=checkpoint.outputs,
            opset=opset,
            ir_version=ir_version,
            whole=plan.whole,
        )
        return {"model": graph}


def _axes_of(inputs: Iterable[str], *, fixed: Iterable[str]) -> Axes:
    """Return the named axes of these inputs, without the `fixed` ones."""
    without = set(fixed)
    named = {name: dynamic_axes(name) for name in inputs}
    if "input_values" in named and MASK in named:
        named[MASK] = named["input_values"]
    return {
        name: {position: axis for position, axis in axes.items() if axis not in without} for name, axes in named.items()
    }
