"""The one adapter to transformers' experimental exporter: a PyTorch model becomes an ONNX graph with named axes.

Nothing else in the house may know of `transformers.exporters` or of `torch.onnx`.
"""

import logging
from collections.abc import Mapping
from typing import Any

import onnx_ir
import torch
from torch._dynamo import config as _config

from ...runtime.errors import ExportError
from ..passes import lists
from ..passes.portable.deepen_stacks import Depth
from ..passes.running import Refusal, run_passes
from ..quiet import quiet
from .stacks import cut, cut_cache, find_stacks
from .traceable import traceable

Axes = Mapping[str, Mapping[int, str]]
_LOG = logging.getLogger("vitrify")


def graph_from_model(
    model: Any,
    inputs: Mapping[str, Any],
    *,
    axes: Axes,
    outputs: tuple[str, ...],
    opset: int,
    ir_version: int,
    whole: bool = False,
    name: str = "model",
) -> onnx_ir.Model:
    """Trace `model` on `inputs` into a portable graph.

    Parameters
    ----------
    model
        In evaluation mode, float32.
    inputs
        Keyword arguments of its forward: tensors, a model's output, or a cache of keys and values; every named axis
        must be at least 2 long, and no two of one size.
    axes
        For each input, the name of each dynamic axis by position; every other axis is fixed. One entry serves all
        tensors of a cache: `past_key_values`, and `past_key_values.encoder` for the keys and values of cross attention.
    outputs
        The outputs kept, of those the model returns; a cache's are kept always.
    opset, ir_version
        Versions of the standard operators and of the file format.
    whole
        Trace every layer. By default layers that are alike but for their weights are traced once, and a model of which
        that cannot be done is traced whole all the same.
    name
        What errors call the graph.

    Raises
    ------
    ExportError
        The model cannot be traced, with the tracer's reason.

    """
    stacks = [] if whole else find_stacks(model)
    depths = [Depth(stack.path, stack.templates, stack.weights()) for stack in stacks]
    given = {name: cut_cache(value, stacks) for name, value in inputs.items()}
    versions = {"opset": opset, "ir_version": ir_version}
    try:
        with cut(stacks):
            graph = _traced(model, given, axes=axes, opset=opset)
        with quiet():
            passes = lists.traced(axes=axes, outputs=outputs, depths=depths, ir_version=ir_version)
            run_passes(graph, passes, name=name)
    except (Refusal, ExportError) as reason:
        if not stacks:
            raise
        _LOG.info("%s is traced whole: %s", type(model).__name__, reason)
        return graph_from_model(model, inputs, axes=axes, outputs=outputs, **versions, whole=True, name=name)
    return graph


def _traced(model: Any, inputs: Mapping[str, Any], *, axes: Axes, opset: int) -> onnx_ir.Model:
    from transformers.exporters.exporter_onnx import OnnxConfig, OnnxExporter

    dynamic = {name: _dynamic_axes(value, axes.get(name, {})) for name, value in inputs.items()}
    config = OnnxConfig(dynamic=True, dynamic_shapes=dynamic, opset_version=opset, optimize=False)
    # What torch remembers of operators on symbolic shapes takes longer to look up than to work out again.
    with quiet(), traceable(), _config.patch(fake_tensor_cache_enabled=False):
        try:
            exported = OnnxExporter().export(model, dict(inputs), config)
        except Exception as error:
            raise ExportError(f"{type(model).__name__} cannot be traced: {_reason(error)}") from error
    graph: onnx_ir.Model = exported.components["model"].program
    for value in graph.graph.inputs:  # the exporter marks those whose name an output has too
        value.name = str(value.name).removeprefix("input.")
    return graph


def _dynamic_axes(value: Any, axes: Mapping[int, str]) -> Any:
    """Return the dynamic axes of a tensor, or those of each tensor of an output or cache, in the exporter's order."""
    dynamic = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
    if isinstance(value, torch.Tensor):
        return dynamic
    if isinstance(value, dict):  # what another part of a model returns
        return [dict(dynamic) for _ in value]
    caches = [value.self_attention_cache, value.cross_attention_cache] if hasattr(value, "is_updated") else [value]
    return [dict(dynamic) for cache in caches for _ in range(2 * len(cache.layers))]


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost error: the outer ones repeat it with advice on torch."""
    while error.__cause__ is not None:
        error = error.__cause__
    if type(error).__name__.startswith("GuardOnDataDependent"):
        return "what it does depends on the values of its inputs, which a graph cannot express"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
