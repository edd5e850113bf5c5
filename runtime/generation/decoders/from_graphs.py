"""A family's graphs as a decoder with an empty cache, for one call; the rows of `FAMILIES` name these functions.

`inputs` are an encoder's, by the names of its graph, one row for each of the decoder's; a decoder-only family has none.
"""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...graphs.families import Family
from ...graphs.signature import MASK, STATES, STATES_MASK, SWITCH, past_of
from .growing import GrowingDecoding
from .in_place import InPlaceDecoding
from .switching import SwitchingDecoding

if TYPE_CHECKING:
    from ...sessions.model import Model
    from ..base import Decoding

Graphs = Mapping[str, "Model"]
Arrays = Mapping[str, np.ndarray]


def open_decoding(family: Family, graphs: Graphs, inputs: Arrays) -> "Decoding":
    """Return a decoder of this family; raise UsageError for one that does not generate."""
    if family.opens is None:
        raise UsageError(f"a bundle of family '{family.name}' does not generate")
    module, name = family.opens.split(":")
    return getattr(importlib.import_module(f"...{module}", __package__), name)(graphs, inputs)


def open_decoder(graphs: Graphs, inputs: Arrays) -> "Decoding":
    """Return a decoder-only model's."""
    if inputs:
        raise UsageError(f"a decoder reads its prompts as tokens, got '{next(iter(inputs))}' with them")
    in_place = graphs.get("in_place")
    decoding = GrowingDecoding(*_portable(graphs, "model")) if in_place is None else InPlaceDecoding(in_place)
    switch = next(iter(graphs.values())).axes.get(SWITCH)
    if switch is None or switch.maximum is None:
        return decoding
    return SwitchingDecoding(decoding, switch.maximum, apart=in_place is not None)


def open_encoder_decoder(graphs: Graphs, inputs: Arrays) -> "Decoding":
    """Run the encoder, then what cross attention reads, once; the steps read both again."""
    encoder, (step, first) = graphs["encoder_model"], _portable(graphs, "decoder_step", "decoder_model_merged")
    encoded = encoder(**{name: value for name, value in inputs.items() if name in encoder.input_names})
    # An encoder that shortens its input may return a mask of its own.
    found = {STATES: encoded[0], STATES_MASK: encoded.get(STATES_MASK, inputs.get(MASK))}
    read = {*step.input_names, *(first.input_names if first else ())}
    constants = {name: value for name, value in found.items() if name in read and value is not None}
    if "decoder_step" in graphs:  # the graph that other tools load does it all, on its first call
        cross = graphs["cross_attention"](**{STATES: encoded[0]})
        constants |= {past_of(name): value for name, value in cross.items()}
    return GrowingDecoding(step, first, constants)


def _portable(graphs: Graphs, *names: str) -> tuple["Model", "Model | None"]:
    """Return the decoder that reads a past, and the one of the first step where that is another."""
    whole = next((graphs[name] for name in names if name in graphs), None)
    return (graphs["decoder_with_past_model"], graphs["decoder_model"]) if whole is None else (whole, None)
