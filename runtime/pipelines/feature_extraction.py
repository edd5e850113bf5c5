"""feature-extraction: a text's hidden states, token by token, without those of padding."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .base import Parameters, Piece, Pipeline, Row

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class FeatureExtractionParameters(Parameters):
    """`return_tensors=True` gives a numpy array [1, tokens, hidden] in place of nested lists."""

    truncation: Any = None
    tokenize_kwargs: Mapping[str, Any] = field(default_factory=dict)
    return_tensors: bool = False


class FeatureExtractionPipeline(Pipeline):
    """`(texts, *, truncation=None, tokenize_kwargs={}, return_tensors=False)` -> [1, tokens, hidden] for each text."""

    parameters = FeatureExtractionParameters

    def pieces(self, item: Any, parameters: FeatureExtractionParameters) -> Iterator[Piece]:
        """Yield the text's tokens."""
        options = dict(parameters.tokenize_kwargs)
        if parameters.truncation is not None:
            if "truncation" in options:
                raise UsageError("truncation was given twice: as an argument and in tokenize_kwargs")
            options["truncation"] = parameters.truncation
        encoded = self.tokenizer(item, **options)
        yield Piece({name: encoded[name][0] for name in encoded})

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: FeatureExtractionParameters) -> Any:  # noqa: ARG002
        """Return the first output with a batch axis of 1."""
        states: np.ndarray = next(iter(outputs[0].values()))[None]
        return states if parameters.return_tensors else states.tolist()
