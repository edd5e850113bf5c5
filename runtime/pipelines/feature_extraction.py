"""feature-extraction: a text's hidden states, token by token, without those of padding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from ..numerics import Row
from .results import Features
from .shared.base import Parameters
from .shared.pieces import Piece
from .shared.text import TextPipeline, TokenizerParameters


@dataclass(frozen=True)
class FeatureExtractionParameters(Parameters):
    """`return_tensors=True` gives a numpy array [1, tokens, hidden] in place of nested lists."""

    truncation: Any = None
    tokenize_kwargs: Mapping[str, Any] = field(default_factory=dict)
    return_tensors: bool = False


class FeatureExtractionPipeline(TextPipeline[Features, Features]):
    """`(texts, *, truncation=None, tokenize_kwargs={}, return_tensors=False)` -> [1, tokens, hidden] for each text."""

    parameters = FeatureExtractionParameters

    def pieces(self, item: Any, parameters: FeatureExtractionParameters) -> Iterator[Piece]:
        """Yield the text's tokens."""
        options = dict(parameters.tokenize_kwargs)
        if parameters.truncation is not None:
            if "truncation" in options:
                raise UsageError("truncation was given twice: as an argument and in tokenize_kwargs")
            options["truncation"] = parameters.truncation
        settings = TokenizerParameters().updated("tokenize_kwargs", options)
        yield Piece(self.row(self.tokenizer(self.text(item), **settings.for_tokenizer())))

    def kept(self, piece: Piece, row: Row, parameters: FeatureExtractionParameters) -> np.ndarray:  # noqa: ARG002 - the same for all
        """Return the first output; as nested lists it would take eight times the memory while it waits."""
        return next(iter(row.values())).copy()

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: FeatureExtractionParameters) -> Any:  # noqa: ARG002 - one text is one piece
        """Return the states with a batch axis of 1."""
        states = outputs[0][None]
        return states if parameters.return_tensors else states.tolist()
