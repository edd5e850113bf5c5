"""Which passes each graph goes through, in order. It knows no model and runs nothing; an export's report names them.

A graph that the tracer gives goes through `traced` first, then through its family's list, then a profile's.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from ...profiles import Profile, WeightQuantization
from ...runtime.graphs.signature import CROSS
from .fusion.compose_attention import compose_attention
from .fusion.fuse_group_query import fuse_group_query
from .fusion.fuse_norms import fuse_norms
from .fusion.pack_layers import pack_layers
from .portable.borrowed import (
    clear_metadata,
    fold_constants,
    merge_equal_nodes,
    merge_equal_weights,
    remove_unused_nodes,
)
from .portable.choose_by_masks import choose_by_masks
from .portable.decompose_attention import ATTENTION_OPSET, decompose_attention
from .portable.deepen_stacks import Depth, deepen_stacks
from .portable.drop_presents import drop_presents
from .portable.drop_unused_inputs import drop_unused_inputs
from .portable.keep_last_logits import keep_last_logits
from .portable.keep_outputs import keep_outputs
from .portable.lower_opset import lower_opset
from .portable.make_alignment import make_alignment
from .portable.name_axes import name_axes
from .portable.name_caches import name_caches
from .portable.read_sizes_off_tokens import read_sizes_off_tokens
from .portable.rename_inputs import rename_inputs
from .portable.rename_outputs import rename_outputs
from .portable.split_cross_attention import Projection, merge_cross_attention, split_cross_attention
from .portable.stamp_versions import stamp_versions
from .precision.quantize_dynamic import quantize_dynamic
from .precision.quantize_pairs import Magnitude, quantize_pairs
from .precision.quantize_weights import quantize_weights
from .precision.to_half import DTYPES, to_half
from .running import Pass, Passes


def traced(
    *, axes: Mapping[str, Mapping[int, str]], outputs: tuple[str, ...], depths: Sequence[Depth], ir_version: int
) -> Passes:
    """Return what every traced graph goes through; `depths` are the stacks of which few layers were traced.

    Folding constants, dropping what is unused and merging equal nodes take 0.04 s on MiniLM; onnxscript's full
    optimizer takes a third of an export and gives a graph that runs no faster.
    """
    return (
        name_caches,
        partial(keep_outputs, names=outputs),
        partial(deepen_stacks, depths=depths),
        fold_constants,
        choose_by_masks,
        remove_unused_nodes,
        merge_equal_nodes,
        merge_equal_weights,
        remove_unused_nodes,
        partial(name_axes, axes=axes),
        clear_metadata,
        partial(stamp_versions, ir_version=ir_version),
    )


def decoder(*, opset: int, positions: int) -> dict[str, Passes]:
    """Return what a traced decoder becomes each graph by; `positions` is how many tokens a row may hold."""
    start = (read_sizes_off_tokens, drop_unused_inputs, keep_last_logits)
    fused = (compose_attention, partial(fuse_group_query, positions=positions), fuse_norms, remove_unused_nodes)
    end = _lowered(opset)
    return {
        "model": (*start, *end),
        "in_place": (*start, *fused, *end),
    }


def encoder_of_two(*, names: Mapping[str, str]) -> dict[str, Passes]:
    """Return what the traced encoder of an encoder-decoder becomes its graph by; `names` are new ones of outputs."""
    return {"encoder_model": (partial(rename_outputs, names=names),)}


def decoder_of_two(
    *,
    opset: int,
    names: Mapping[str, str],
    projections: Sequence[Projection],
    heads: Sequence[tuple[int, int]],
) -> dict[str, Passes]:
    """Return what one traced step of an encoder-decoder becomes each graph by; no `heads`, no alignment."""
    start = (
        partial(rename_inputs, names=names),
        partial(drop_presents, side=CROSS),
        drop_unused_inputs,
        keep_last_logits,
    )
    end = _lowered(opset)
    lists = {
        "decoder_model_merged": (*start, partial(merge_cross_attention, projections=projections), *end),
        "cross_attention": (partial(split_cross_attention, projections=projections), *end),
        "decoder_step": (*start, *end),
        "alignment": (*start, partial(make_alignment, heads=heads), *end),
    }
    return {name: passes for name, passes in lists.items() if heads or name != "alignment"}


def _lowered(opset: int) -> Passes:
    """Return what a graph traced with `Attention` takes to be one of `opset`."""
    return (decompose_attention, partial(lower_opset, opset=opset)) if opset < ATTENTION_OPSET else ()


def dynamic(profile: Profile) -> Passes:
    """Return what a portable graph becomes a profile's by whose activations are scaled at run time."""
    rules = profile.quantization
    assert rules is not None
    return (partial(quantize_dynamic, per_channel=rules.per_channel, embeddings=rules.embeddings),)


def converted(profile: Profile, *, seen: Mapping[str, Magnitude] | None, exact: frozenset[str]) -> Passes:
    """Return what a portable graph becomes a profile's by: layers quantized that calibration has `seen`, then in half.

    The weights in `exact` stay float32.
    """
    passes: list[Pass] = []
    if seen is not None and profile.quantization is not None:
        kind, symmetric = profile.precision, profile.quantization.symmetric
        passes.append(partial(quantize_pairs, seen=seen, kind=kind, symmetric=symmetric, exact=exact))
    if profile.half is not None:
        passes.append(partial(to_half, dtype=DTYPES[profile.half_precision], keep=profile.half.keep, exact=exact))
    return tuple(passes)


# Low-bit weights: what is done once, and what for each trial of the bits that the layers take.
PACKED: Passes = (pack_layers,)


def low_bit(weights: WeightQuantization, *, kept: frozenset[str]) -> Passes:
    """Return the weight quantization of a graph; layers in `kept` take 8 instead of 4, float32 instead of 8."""
    return (
        partial(
            quantize_weights,
            bits=weights.bits,
            block_size=weights.block_size,
            accuracy_level=weights.accuracy_level,
            head_bits=weights.head_bits,
            embeddings=weights.embeddings,
            symmetric=weights.symmetric,
            skip=kept if weights.bits == 8 else (),
            eight=kept if weights.bits == 4 else (),
        ),
    )
