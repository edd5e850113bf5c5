"""Decoders: one graph that reads a prompt and then token after token, with the keys and values of those before."""

import logging
from collections.abc import Iterator
from typing import Any

import onnx_ir
import torch

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import CAPACITY, MASK, POSITIONS, SWITCH, TOKENS, Axis, dynamic_axes
from ..checkpoint.limits import limit_of, positions_of
from ..checkpoint.opened import Checkpoint
from ..passes import lists
from ..passes.portable.decompose_attention import ATTENTION_OPSET
from ..passes.running import Refusal, run_passes
from ..reasons import reason_of
from ..tracing.tracer import graph_from_model
from ..verification.grids import row_bytes
from ..verification.lengths import drops_its_cache, lengths_in, rotation_switch
from ..verification.plan import Plan
from ..verification.teacher import Course, TeacherOracle, prompts_of
from ..verification.text import text_course
from .base import Family
from .caches import cache_of, full_cache

_AXES = {
    TOKENS: dynamic_axes(TOKENS),
    MASK: {0: "batch", 1: "total"},
    POSITIONS: dynamic_axes(POSITIONS),
    "past_key_values": {0: "batch", 2: "past"},
}
# No two sizes alike, or the tracer takes their axes for one.
TRACED_ROWS, TRACED_TOKENS, TRACED_PAST = 2, 3, 5
PROMPT, STEPS = 17, 64
# How many tokens beyond a length are compared, and the largest scores of one attention layer, float32: those of 40
# heads over 4,400 tokens.
BEYOND, MOST_BYTES = 8, 3 * 2**30
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
        maximum = positions_of(checkpoint.config)
        traced, switch = _traced(checkpoint), _switch(checkpoint.config, maximum)
        if switch is None or _follows(checkpoint, switch):
            yield self._plan(checkpoint, traced, maximum, switch=switch)
        if first := switch or _unstretched(checkpoint.config, maximum):
            yield self._plan(checkpoint, traced, first)

    def _plan(
        self, checkpoint: Checkpoint, traced: dict[str, Any], maximum: int | None, *, switch: int | None = None
    ) -> Plan:
        text = text_course(checkpoint, maximum)
        courses = (*_courses(maximum, switch), *_crossing(checkpoint.config, maximum, switch))
        return Plan(
            traced=traced,
            more=(("text", text),),
            text=text,
            grid=tuple((course.name, course.inputs(checkpoint)) for course in courses),
            axes={
                "batch": Axis(),
                "sequence": Axis(),
                "past": Axis(0),
                "total": Axis(1, maximum),
                CAPACITY: Axis(1, min(maximum or MOST_POSITIONS, MOST_POSITIONS)),
                **({SWITCH: Axis(1, switch)} if switch else {}),
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


def _switch(config: Any, maximum: int | None) -> int | None:
    """Return the most tokens of a row before its rotation is another one, if a row may be longer."""
    switch = rotation_switch(config)
    return switch if switch is not None and (maximum is None or switch < maximum) else None


def _follows(checkpoint: Checkpoint, switch: int) -> bool:
    """Tell whether the runtime does behind a switch what transformers does, and a comparison across it is affordable.

    A cache that goes on there has tokens of both rotations, as many of each as the steps before made.
    """
    return drops_its_cache(checkpoint.model, switch) and row_bytes(checkpoint.config, switch + BEYOND) <= MOST_BYTES


def _unstretched(config: Any, maximum: int | None) -> int | None:
    """Return how many tokens the model was first trained on, if it was stretched to more.

    Some rotate every token otherwise once a row is longer than that; a cache cannot follow.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    first = rope.get("original_max_position_embeddings") or limit_of(config, "original_max_position_embeddings")
    return first if maximum and first and first < maximum else None


def _courses(maximum: int | None, switch: int | None) -> Iterator[Course]:
    """Yield what is compared: short ones that the bundle can keep, then many steps, then a long prompt.

    Rows of different lengths stay on one side of a switch.
    """
    top, even = maximum or 2048, switch or maximum or 2048
    yield Course(rows=1, prompt=1, chunks=(1, 1, 1))
    yield Course(rows=2, prompt=5, chunks=(1, 3, 1))
    prompt = min(PROMPT, even // 2)
    yield Course(rows=3, prompt=prompt, chunks=(1,) * min(STEPS, even - prompt))
    yield Course(rows=1, prompt=min(256, top - 4), chunks=(3, 1))


def _crossing(config: Any, maximum: int | None, switch: int | None) -> Iterator[Course]:
    """Yield comparisons on both sides of each length that the config names: in an answer, and in a prompt.

    Those that the steps of `_courses` cross are left out, and those that cost too much.
    """
    for length in lengths_in(config, maximum or MOST_POSITIONS):
        top = maximum or length + 2 * BEYOND
        prompt, steps = min(length + BEYOND, top - 3), min(2, top - length)
        is_crossed = length < PROMPT + STEPS and length != switch
        if is_crossed or row_bytes(config, prompt) > MOST_BYTES:
            continue
        yield Course(rows=1, prompt=length - 1, chunks=(1,) * (1 + steps))
        yield Course(rows=1, prompt=length - 1, chunks=(1 + steps,))
        if prompt > length:
            yield Course(rows=1, prompt=prompt, chunks=(1, 2))


def _traced(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the inputs to trace on; the cache's geometry is what the model itself makes of a prompt."""
    ids = prompts_of(checkpoint).batch(TRACED_ROWS, TRACED_PAST + TRACED_TOKENS)["input_ids"]
    given = torch.from_numpy(ids)
    with torch.inference_mode():
        try:
            made = checkpoint.model(input_ids=given[:, :TRACED_PAST], use_cache=True)
        except Exception as error:
            raise UsageError(
                f"the PyTorch model itself rejects a batch of two: {reason_of(error)}. Correct its config.json"
            ) from error
    total = TRACED_PAST + TRACED_TOKENS
    inputs = {
        "input_ids": given[:, TRACED_PAST:],
        "attention_mask": torch.ones(TRACED_ROWS, total, dtype=torch.int64),
        "position_ids": torch.arange(TRACED_PAST, total).repeat(TRACED_ROWS, 1),
    }
    inputs = {name: value for name, value in inputs.items() if name in checkpoint.forward_parameters}
    return {**inputs, "past_key_values": full_cache(cache_of(made, checkpoint.model), checkpoint.model)}
