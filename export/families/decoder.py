"""Decoders: one graph that reads a prompt and then token after token, with the keys and values of those before."""

import logging
from collections.abc import Iterator
from typing import Any

import onnx_ir
import torch

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import CAPACITY, MASK, POSITIONS, TOKENS, Axis, dynamic_axes
from ..checkpoint.opened import Checkpoint
from ..passes import lists
from ..passes.portable.decompose_attention import ATTENTION_OPSET
from ..passes.running import Refusal, run_passes
from ..tracing.tracer import graph_from_model
from ..verification.plan import Plan
from ..verification.teacher import Course, TeacherOracle, prompts_of
from ..verification.text import text_course
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
        text = text_course(checkpoint, maximum)
        return Plan(
            traced=traced,
            more=(("text", text),),
            text=text,
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
        traced = graph_from_model(
            checkpoint.model,
            plan.traced,
            axes=_AXES,
            outputs=("logits",),
            opset=max(opset, ATTENTION_OPSET),
            ir_version=ir_version,
            whole=plan.whole,
        )
        passes = lists.decoder(opset=opset, positions=plan.axes[CAPACITY].maximum or MOST_POSITIONS)
        made = {"model": run_passes(traced.clone(), passes["model"], name="model")}
        try:
            made["in_place"] = run_passes(traced, passes["in_place"], name="in_place")
        except Refusal as reason:
            _LOG.info("no static KV cache: %s", reason)
        return made


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
                f"the PyTorch model itself rejects a batch of two: {reason}. Correct its config.json"
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
