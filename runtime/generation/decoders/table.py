"""The table of decodings: how a family's graphs become a decoder with an empty cache.

Here too is how parity cases are replayed on one.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...loading import Outputs
from ...numerics import Arrays
from .growing import PAST, PRESENT, GrowingDecoding
from .in_place import InPlaceDecoding

if TYPE_CHECKING:
    from ...loading import Model
    from ..base import Decoding

Graphs = Mapping[str, "Model"]
STATES, MASK = "encoder_hidden_states", "encoder_attention_mask"


def open_decoding(family: str, graphs: Graphs, inputs: Arrays) -> "Decoding":
    """Return a decoder with an empty cache, for one call.

    `inputs` are an encoder's, by the names of its graph, one row for each of the decoder's; a decoder-only family takes
    none.
    """
    if family not in _OPENERS:
        raise UsageError(f"a bundle of family '{family}' does not generate (those that do: {', '.join(_OPENERS)})")
    return _OPENERS[family](graphs, inputs)


def _open_decoder(graphs: Graphs, inputs: Arrays) -> "Decoding":
    if inputs:
        raise UsageError(f"a decoder takes its prompts as tokens, got '{next(iter(inputs))}' beside them")
    in_place = graphs.get("in_place")
    return GrowingDecoding(*_portable(graphs, "model")) if in_place is None else InPlaceDecoding(in_place)


def _portable(graphs: Graphs, *names: str) -> tuple["Model", "Model | None"]:
    """Return the decoder that takes a past, and the one of the first step where that is another."""
    whole = next((graphs[name] for name in names if name in graphs), None)
    return (graphs["decoder_with_past_model"], graphs["decoder_model"]) if whole is None else (whole, None)


def _open_encoder_decoder(graphs: Graphs, inputs: Arrays) -> "Decoding":
    """Run the encoder, then what cross attention reads, once; the steps read both again."""
    encoder, (step, first) = graphs["encoder_model"], _portable(graphs, "decoder_step", "decoder_model_merged")
    encoded = encoder(**{name: value for name, value in inputs.items() if name in encoder.input_names})
    # An encoder that shortens its input may return a mask of its own.
    found = {STATES: encoded[0], MASK: encoded.get(MASK, inputs.get("attention_mask"))}
    read = {*step.input_names, *(first.input_names if first else ())}
    constants = {name: value for name, value in found.items() if name in read and value is not None}
    if "decoder_step" in graphs:  # the graph that others load does it all, on its first call
        cross = graphs["cross_attention"](**{STATES: encoded[0]})
        constants |= {name.replace(PRESENT, PAST): value for name, value in cross.items()}
    return GrowingDecoding(step, first, constants)


_OPENERS: Mapping[str, Callable[[Graphs, Arrays], "Decoding"]] = {
    "decoder": _open_decoder,
    "encoder-decoder": _open_encoder_decoder,
}


class TeacherForced:
    """A decoder as a callable on parity cases: the tokens are given, the logits of every step come back."""

    def __init__(self, open_one: Callable[[Arrays], "Decoding"]) -> None:
        self.open_one = open_one

    def __call__(self, *, chunks: np.ndarray, **arrays: np.ndarray) -> Outputs:
        """Run tokens in `chunks`: `decoder_input_ids`, or else `input_ids` whose rows begin at `starts`.

        Both are int64 [rows, tokens]; the other arrays are an encoder's. Returns `logits`
        [rows * positions, vocabulary], from the last token of the first chunk on.
        """
        ids = arrays.pop("decoder_input_ids", None)
        ids = arrays.pop("input_ids") if ids is None else ids
        starts = arrays.pop("starts", np.zeros(len(ids), np.int64))
        decoding = self.open_one(arrays)
        prompt = int(chunks[0])
        found = [decoding.append([row[start:prompt] for row, start in zip(ids, starts, strict=True)]).copy()]
        for start, count in zip(np.cumsum(chunks)[:-1], chunks[1:], strict=True):
            found.append(decoding.append(ids[:, start : start + count], keep=None).copy())
        logits = np.concatenate(found, axis=1)
        return Outputs({"logits": logits.reshape(-1, logits.shape[-1])})
