"""Decoders: one graph that reads a prompt and then token after token, with the keys and values of those before."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir
import torch
from onnx_ir.passes import common

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import CAPACITY, MASK, POSITIONS, TOKENS, Axis, dynamic_axes
from ..checkpoint.opened import Checkpoint
from ..passes.fusion.compose_attention import compose_attention
from ..passes.fusion.fuse_group_query import fuse_attention
from ..passes.fusion.fuse_norms import fuse_norms
from ..passes.portable.decompose_attention import decompose_attention
from ..passes.portable.drop_inputs import drop_unused_inputs, read_sizes_off_tokens
from ..passes.portable.keep_last_logits import keep_last_logits
from ..passes.reading.evaluate import Unfusable
from ..proof.plan import Plan
from ..proof.teacher import Course, TeacherOracle, prompts_of
from ..tracing.tracer import ATTENTION_OPSET, graph_from_model
from .base import Family

_AXES = {
    TOKENS: dynamic_axes(TOKENS),
    MASK: {0: "batch", 1: "total"},
    POSITIONS: dynamic_axes(POSITIONS),
    "past_key_values": {0: "batch", 2: "past"},
}
# No two sizes alike, or the tracer takes their axes for one.
TRACED_ROWS, TRACED_TOKENS, TRACED_PAST = 2, 3, 5
STEPS = 64
# Tables of sines end there: 64 MB for heads of 128.
MOST_POSITIONS = 131_072
_LOG = logging.getLogger("vitrify")


class DecoderFamily(Family):
    """The language model with its cache; the head works on the last tokens only."""

    name = "decoder"
    graphs = {  # noqa: RUF012 - a constant of the class
        "model": "onnx/model{suffix}.onnx",
        "in_place": "onnx/model_in_place{suffix}.onnx",
    }
    shared = {"in_place": "model"}  # noqa: RUF012
    only = {"in_place": "cpu"}  # noqa: RUF012

    def oracle(self, checkpoint: Checkpoint) -> TeacherOracle:
        return TeacherOracle(checkpoint)

    def plans(self, checkpoint: Checkpoint, oracle: Any) -> Iterator[Plan]:  # noqa: ARG002 - no plan needs a trial
        maximum = getattr(checkpoint.config, "max_position_embeddings", None)
        traced = _traced(checkpoint)
        yield self._plan(checkpoint, traced, maximum)
        if first := _unstretched(checkpoint.config, maximum):
            yield self._plan(checkpoint, traced, first)

    def _plan(self, checkpoint: Checkpoint, traced: dict[str, Any], maximum: int | None) -> Plan:
        return Plan(
            traced=traced,
            grid=tuple((course.name, course.inputs(checkpoint)) for course in _courses(maximum)),
            axes={
                "batch": Axis(),
                "sequence": Axis(),
                "past": Axis(0),
                "total": Axis(1, maximum),
                CAPACITY: Axis(1, min(maximum or MOST_POSITIONS, MOST_POSITIONS)),
            },
        )

    def trace(self, checkpoint: Checkpoint, plan: Plan, *, opset: int, ir_version: int) -> dict[str, onnx_ir.Model]:
        with _keys_for_every_head():
            graph = graph_from_model(
                checkpoint.model,
                plan.traced,
                axes=_AXES,
                outputs=("logits",),
                opset=max(opset, ATTENTION_OPSET),
                ir_version=ir_version,
                whole=plan.whole,
            )
        read_sizes_off_tokens(graph)
        drop_unused_inputs(graph)
        keep_last_logits(graph)
        made = {"model": graph, **_in_place(graph, positions=plan.axes[CAPACITY].maximum)}
        for each in made.values():
            if opset < ATTENTION_OPSET:
                decompose_attention(each)
                each.graph.opset_imports[""] = opset  # nothing else that a tracer writes is newer
        return made


@contextmanager
def _keys_for_every_head() -> Iterator[None]:
    """Give every head of queries keys of its own: the tracer's attention does not broadcast one head of keys to many.

    PyTorch's does, and the first Falcon counts on it.
    """
    original = torch.nn.functional.scaled_dot_product_attention

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *rest: Any, **named: Any) -> Any:
        if query.ndim == 4 and key.shape[1] == 1 != query.shape[1]:
            key, value = (side.expand(-1, query.shape[1], -1, -1) for side in (key, value))
        return original(query, key, value, *rest, **named)

    torch.nn.functional.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        torch.nn.functional.scaled_dot_product_attention = original


def _in_place(graph: onnx_ir.Model, *, positions: int | None) -> dict[str, onnx_ir.Model]:
    """Return the variant whose cache stays where it is, or nothing for attention that is not of its kind."""
    variant = graph.clone()
    compose_attention(variant)
    try:
        fuse_attention(variant, positions=positions or MOST_POSITIONS)
    except Unfusable as reason:
        _LOG.info("no cache in place: %s", reason)
        return {}
    fuse_norms(variant)
    common.RemoveUnusedNodesPass()(variant)
    return {"in_place": variant}


def _unstretched(config: Any, maximum: int | None) -> int | None:
    """Return how many tokens the model was first trained on, if it was stretched to more.

    Some rotate every token otherwise once a row is longer than that; a cache cannot follow.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    first = rope.get("original_max_position_embeddings") or getattr(config, "original_max_position_embeddings", None)
    return first if maximum and first and first < maximum else None


def _courses(maximum: int | None) -> Iterator[Course]:
    """Yield what is compared: short ones that the bundle can keep, then many steps, then a long prompt."""
    top = maximum or 2048
    yield Course(rows=1, prompt=1, chunks=(1, 1, 1))
    yield Course(rows=2, prompt=5, chunks=(1, 3, 1))
    prompt = min(17, top // 2)
    yield Course(rows=3, prompt=prompt, chunks=(1,) * min(STEPS, top - prompt))
    yield Course(rows=1, prompt=min(256, top - 4), chunks=(3, 1))


def _traced(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the inputs to trace on; the cache's geometry is what the model itself makes of a prompt."""
    ids = prompts_of(checkpoint).batch(TRACED_ROWS, TRACED_PAST + TRACED_TOKENS)["input_ids"]
    given = torch.from_numpy(ids)
    with torch.inference_mode():
        try:
            made = checkpoint.model(input_ids=given[:, :TRACED_PAST], use_cache=True)
        except Exception as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise UsageError(
                f"the PyTorch model itself refuses a batch of two: {reason}. Mend its config.json"
            ) from error
    total = TRACED_PAST + TRACED_TOKENS
    inputs = {
        "input_ids": given[:, TRACED_PAST:],
        "attention_mask": torch.ones(TRACED_ROWS, total, dtype=torch.int64),
        "position_ids": torch.arange(TRACED_PAST, total).repeat(TRACED_ROWS, 1),
    }
    inputs = {name: value for name, value in inputs.items() if name in checkpoint.forward_parameters}
    return {**inputs, "past_key_values": full_cache(made.past_key_values)}


def full_cache(cache: Any) -> Any:
    """Return the cache with layers that keep every token: a graph's mask forgets, its cache does not."""
    from transformers import DynamicCache

    full = DynamicCache()
    for index, layer in enumerate(cache.layers):
        full.update(layer.keys.clone(), layer.values.clone(), index)
    return full
