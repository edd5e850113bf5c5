"""Encoder-decoders: the encoder once, the keys and values of cross attention once, then the decoder step by step.

Others load `encoder_model` and `decoder_model_merged`; the runtime runs `cross_attention` and `decoder_step`, which
share the merged graph's weights and copy nothing from step to step.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx_ir
import torch

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import STATES, STATES_MASK, Axis
from ...runtime.numerics import Arrays
from ..checkpoint.limits import limit_of
from ..checkpoint.opened import Checkpoint
from ..passes import lists
from ..passes.portable.decompose_attention import ATTENTION_OPSET
from ..passes.running import run_passes
from ..quiet import quiet
from ..reasons import reason_of
from ..tracing.projections import find_projections
from ..tracing.tracer import graph_from_model
from ..verification.encoder_samples import Source, TextSource, axes_of, source_of
from ..verification.plan import Plan
from ..verification.teacher import Seq2SeqOracle, answer_tokens, to_torch
from .base import Family
from .caches import cache_of, filled_layers, full_cache

TRACED_ROWS, TRACED_SOURCE, TRACED_TOKENS, TRACED_PAST = 2, 7, 3, 5
STEPS = 64
LONG = 256
_NAMES = {
    "encoder_outputs.last_hidden_state": STATES,
    "encoder_outputs.attention_mask": STATES_MASK,
    "attention_mask": STATES_MASK,
    "decoder_input_ids": "input_ids",
}
# What of an encoder's output a decoder reads; the mask only of one that makes its own.
_ENCODED = ("last_hidden_state", "attention_mask")
_OUTPUTS = {"attention_mask": STATES_MASK, "output.attention_mask": STATES_MASK}


# What an encoder calls the axis of sound that it shortens.
_SOUND = {"input_values": "samples", "input_features": "frames"}


class EncoderDecoderFamily(Family):
    """Two graphs for others, two for the runtime; one trace of each half of the model."""

    name = "encoder-decoder"
    graphs = {  # noqa: RUF012 - a constant of the class
        "encoder_model": "onnx/encoder_model{suffix}.onnx",
        "decoder_model_merged": "onnx/decoder_model_merged{suffix}.onnx",
        "cross_attention": "onnx/cross_attention{suffix}.onnx",
        "decoder_step": "onnx/decoder_step{suffix}.onnx",
        "alignment": "onnx/alignment{suffix}.onnx",
    }
    shared = dict.fromkeys(("cross_attention", "decoder_step", "alignment"), "decoder_model_merged")

    def oracle(self, checkpoint: Checkpoint) -> Seq2SeqOracle:
        return Seq2SeqOracle(checkpoint)

    def plans(self, checkpoint: Checkpoint, oracle: Any) -> Iterator[Plan]:  # noqa: ARG002 - one plan needs no trial
        source, maximum = source_of(checkpoint), _longest_answer(checkpoint)
        traced = source.batch(TRACED_ROWS, TRACED_SOURCE)
        _require_accepted(checkpoint, traced)
        yield Plan(
            traced=traced,
            grid=tuple(_grid(checkpoint, source, maximum)),
            axes={"batch": Axis(), "sequence": Axis(), "past": Axis(0), "total": Axis(1, maximum)},
            more=tuple(_more(checkpoint, source, maximum)),
        )

    def trace(self, checkpoint: Checkpoint, plan: Plan, *, opset: int, ir_version: int) -> dict[str, onnx_ir.Model]:
        versions = {"opset": max(opset, ATTENTION_OPSET), "ir_version": ir_version}
        model, traced = checkpoint.model, to_torch(plan.traced)
        encoder = model.get_encoder()
        given = {name: value for name, value in traced.items() if name in _forward_names(encoder)}
        with quiet(), torch.inference_mode():
            encoded = encoder(**given)
        axes = axes_of(source_of(checkpoint), second=_second_axis(encoded, model.main_input_name, traced))
        encoder_graph = graph_from_model(
            encoder,
            given,
            axes=axes,
            outputs=("last_hidden_state", *_OUTPUTS),
            opset=opset,
            ir_version=ir_version,
            whole=plan.whole,
            name="encoder_model",
        )
        projections = find_projections(model, traced, lambda given: _cache_and_states(model, given))
        step = _traced_step(checkpoint, traced, encoded, axes, {**versions, "whole": plan.whole})
        heads = getattr(model.generation_config, "alignment_heads", None) or ()
        passes = lists.decoder_of_two(opset=opset, names=_NAMES, projections=projections, heads=[*map(tuple, heads)])
        graphs = {name: (encoder_graph, each) for name, each in lists.encoder_of_two(names=_OUTPUTS).items()}
        graphs |= {name: (step.clone(), each) for name, each in passes.items()}
        return {name: run_passes(graph, each, name=name) for name, (graph, each) in graphs.items()}


def _second_axis(encoded: Any, name: str, traced: Any) -> str:
    """Return what the encoder's inputs call the axis after the batch: their own name where states are fewer."""
    alike = encoded.last_hidden_state.shape[1] == traced[name].shape[1]
    return "encoder_sequence" if alike else _SOUND.get(name, "source")


def _traced_step(checkpoint: Checkpoint, traced: Any, encoded: Any, axes: Any, versions: Any) -> onnx_ir.Model:
    """Return the decoder of one step: tokens and both caches in, logits and both caches out."""
    kept = {name: encoded[name].clone() for name in _ENCODED if encoded.get(name) is not None}
    inputs: dict[str, Any] = {
        "encoder_outputs": type(encoded)(**kept),
        "decoder_input_ids": torch.from_numpy(answer_tokens(checkpoint, TRACED_ROWS, TRACED_TOKENS)),
        "past_key_values": _both_caches(_run(checkpoint.model, traced, TRACED_PAST).past_key_values, checkpoint.model),
    }
    named = {
        "encoder_outputs": {0: "batch", 1: "encoder_sequence"},
        "decoder_input_ids": {0: "batch", 1: "sequence"},
        "past_key_values": {0: "batch", 2: "past"},
        "past_key_values.encoder": {0: "batch", 2: "encoder_sequence"},
    }
    if "attention_mask" in traced and "attention_mask" not in kept:
        inputs["attention_mask"] = traced["attention_mask"]
        named["attention_mask"] = axes["attention_mask"]
    return graph_from_model(checkpoint.model, inputs, axes=named, outputs=("logits",), **versions, name="decoder_step")


def _run(model: Any, traced: dict[str, torch.Tensor], tokens: int) -> Any:
    rows = len(next(iter(traced.values())))
    start = torch.full((rows, tokens), start_token(model), dtype=torch.int64)
    with quiet(), torch.inference_mode():
        made = model(**traced, decoder_input_ids=start, use_cache=True)
    both = cache_of(made, model)
    for cache in (both.self_attention_cache, both.cross_attention_cache):
        cache.layers = filled_layers(cache, model)
    return made


def start_token(model: Any) -> int:
    """Return the token that this model's answers start with."""
    configs = (model.generation_config, model.config, model.config.get_text_config(decoder=True))
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    found = [getattr(config, name, None) for name in names for config in configs]
    first = next((token for token in found if token is not None), 0)
    return int(first[0]) if isinstance(first, list) else int(first)


def _cache_and_states(model: Any, traced: dict[str, torch.Tensor]) -> tuple[Any, torch.Tensor]:
    made = _run(model, traced, 1)
    return made.past_key_values, made.encoder_last_hidden_state


def _both_caches(cache: Any, model: Any) -> Any:
    from transformers import EncoderDecoderCache

    both = (cache.self_attention_cache, cache.cross_attention_cache)
    return EncoderDecoderCache(*(full_cache(each, model) for each in both))


def _forward_names(module: Any) -> Any:
    import inspect

    return inspect.signature(module.forward).parameters


def _longest_answer(checkpoint: Checkpoint) -> int | None:
    config = checkpoint.config.get_text_config(decoder=True)
    names = ("max_target_positions", "max_decoder_position_embeddings", "max_position_embeddings")
    return limit_of(config, *names)


def _longest_source(checkpoint: Checkpoint) -> int | None:
    names = ("max_source_positions", "max_encoder_position_embeddings", "max_position_embeddings")
    return limit_of(checkpoint.config.get_text_config(encoder=True), *names)


def _grid(checkpoint: Checkpoint, source: Source, maximum: int | None) -> Iterator[tuple[str, Arrays]]:
    """Yield what is compared: short ones that the bundle can keep, then many steps, then a long text."""
    courses = [(1, 3, 1, (1, 1, 1)), (2, 9, 2, (3, 1)), (3, 20, 1, (1,) * _steps(maximum))]
    if isinstance(source, TextSource):  # attention in blocks: of 128 tokens in LongT5
        courses.append((1, min(LONG, _longest_source(checkpoint) or LONG), 1, (1,)))
    for course in courses:
        yield _course(checkpoint, source, *course)


def _more(checkpoint: Checkpoint, source: Source, maximum: int | None) -> Iterator[tuple[str, Arrays]]:
    """Yield answers by which lossy graphs are known again, beside the grid: few rows, so that sounds are small."""
    for seed in range(2, 6):
        yield _course(checkpoint, source, 1, 10 + seed, 1, (1,) * _steps(maximum), seed=seed)


def _steps(maximum: int | None) -> int:
    return min(STEPS, (maximum or 2048) - 2)


def _course(
    checkpoint: Checkpoint, source: Source, rows: int, size: int, prompt: int, chunks: Sequence[int], *, seed: int = 1
) -> tuple[str, Arrays]:
    """Return sources of about `size` positions, with answers that begin with `prompt` tokens and go on in `chunks`."""
    inputs = {
        **source.batch(rows, size, seed=seed),
        "decoder_input_ids": answer_tokens(checkpoint, rows, prompt + sum(chunks), seed=seed),
        "chunks": np.array([prompt, *chunks], np.int64),
    }
    return f"batch {rows} x source {size}, prompt {prompt} + {sum(chunks)} tokens", inputs


def _require_accepted(checkpoint: Checkpoint, traced: Arrays) -> None:
    try:
        _run(checkpoint.model, to_torch(traced), 1)
    except Exception as error:
        raise UsageError(
            f"the PyTorch model itself rejects a batch of two: {reason_of(error)}. Correct its config.json"
        ) from error
