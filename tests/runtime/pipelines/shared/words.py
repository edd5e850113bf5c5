"""A pipeline that counts the letters of words, and the fake bundle that it runs on."""

import numpy as np

from tests.fakes import FakeBundle
from vitrify.runtime.pipelines.shared.base import Parameters, Pipeline
from vitrify.runtime.pipelines.shared.pieces import Piece


def _lengths(rows):
    return [len(row["input_ids"]) for row in rows]


def counting_bundle(**given):
    """Return a bundle whose graph counts tokens; it remembers the lengths of each batch."""
    return FakeBundle(lambda row: {"count": np.array(len(row["input_ids"]))}, noted=_lengths, **given)


class Words(Pipeline):
    """A piece for each word of a text, a token for each letter; the result is every word with its number of letters."""

    parameters = Parameters
    reads_ahead = True

    def pieces(self, item, parameters):
        for word in item.split():
            yield Piece({"input_ids": np.zeros(len(word), np.int64)}, word)

    def result(self, pieces, outputs, parameters):
        return [(piece.context, int(output["count"])) for piece, output in zip(pieces, outputs, strict=True)]
