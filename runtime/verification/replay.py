"""Parity cases replayed on a bundle's graphs: each way that they run, as what answers to a case's inputs by name."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from ..generation.base import Decoding
from ..generation.decoders.from_graphs import open_decoding
from ..graphs.families import Family
from ..graphs.signature import LOGITS, TOKENS
from ..sessions.model import Model, Outputs

Arrays = Mapping[str, np.ndarray]
Graphs = Mapping[str, Model]


def replayed(family: Family, graphs: Graphs) -> list[Callable[..., Outputs]]:
    """Return what answers to a family's parity cases: independent graphs, or a decoder that is told every token.

    Where graphs overlap, because other tools run a model otherwise than this runtime does, each set is among them.
    """
    sets = [{name: graphs[name] for name in each} for each in family.sets_among(graphs)]
    if not family.generates:
        return [Independent(each) for each in sets]
    return [TeacherForced(partial(open_decoding, family, each)) for each in sets]


class Independent:
    """Graphs of which each answers for what it reads."""

    def __init__(self, graphs: Graphs) -> None:
        self.graphs = graphs

    def __call__(self, **inputs: np.ndarray) -> Outputs:
        """Run the graph whose inputs these are; the only one says itself what does not fit."""
        fitting = [graph for graph in self.graphs.values() if set(inputs) <= set(graph.input_names)]
        return next(iter(fitting or self.graphs.values()))(**inputs)


class TeacherForced:
    """A decoder as a callable on parity cases: the tokens are given, the logits of every step come back."""

    def __init__(self, open_one: Callable[[Arrays], Decoding]) -> None:
        self.open_one = open_one

    def __call__(self, *, chunks: np.ndarray, **arrays: np.ndarray) -> Outputs:
        """Run tokens in `chunks`: `decoder_input_ids`, or else `input_ids` whose rows begin at `starts`.

        Both are int64 [rows, tokens]; the other arrays are an encoder's. Returns `logits`
        [rows * positions, vocabulary], from the last token of the first chunk on.
        """
        ids = arrays.pop("decoder_input_ids", None)
        ids = arrays.pop(TOKENS) if ids is None else ids
        starts = arrays.pop("starts", np.zeros(len(ids), np.int64))
        decoding = self.open_one(arrays)
        prompt = int(chunks[0])
        found = [decoding.append([row[start:prompt] for row, start in zip(ids, starts, strict=True)]).copy()]
        for start, count in zip(np.cumsum(chunks)[:-1], chunks[1:], strict=True):
            found.append(decoding.append(ids[:, start : start + count], keep=None).copy())
        logits = np.concatenate(found, axis=1)
        return Outputs({LOGITS: logits.reshape(-1, logits.shape[-1])})
