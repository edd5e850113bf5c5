"""text-classification: the label, or every label with its score, of a text or of a pair of texts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from ..errors import UsageError
from ..numerics import Row, ranked
from ..processing.labels import FUNCTIONS, default_function
from ..processing.text.arguments import count
from .results import Label
from .shared.base import chosen
from .shared.pieces import Piece
from .shared.text import TextPipeline, TokenizerParameters


@dataclass(frozen=True)
class TextClassificationParameters(TokenizerParameters):
    """`top_k=None` is every label; `text_pair` goes with every text that is no dict; the others are the tokenizer's."""

    top_k: int | None = 1
    function_to_apply: str | None = None
    text_pair: str | None = None

    def __post_init__(self) -> None:
        if self.top_k is not None:
            count(self.top_k, name="top_k", least=1)
        if self.function_to_apply is not None:
            chosen("function_to_apply", self.function_to_apply, FUNCTIONS)


class TextClassificationPipeline(TextPipeline[list[Label], Label]):
    """`(texts, *, top_k=1, function_to_apply=None, text_pair=None, truncation=None, ...)` -> {"label", "score"}.

    A pair is {"text": ..., "text_pair": ...}. One text alone gives a list of one. Once `top_k` is given, here or when
    the pipeline is made, every text gives a list, best first; given when it is made, one text alone gives a list of
    such a list, as in transformers.
    """

    parameters = TextClassificationParameters
    expects = 'a text or {"text": ..., "text_pair": ...}'

    if TYPE_CHECKING:

        @overload
        def __call__(  # pyright: ignore[reportOverlappingOverload]
            self, inputs: list[str], *args: Any, top_k: int | None, **options: Any
        ) -> list[list[Label]]: ...
        @overload
        def __call__(self, inputs: str, *args: Any, **options: Any) -> list[Label]: ...
        @overload
        def __call__(self, inputs: list[str], *args: Any, **options: Any) -> list[Label]: ...
        @overload
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...
        def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one text or one pair."""
        return isinstance(inputs, (str, Mapping))

    def pieces(self, item: Any, parameters: TextClassificationParameters) -> Iterator[Piece]:
        """Yield the text's tokens."""
        text, pair = self._text_and_pair(item, parameters)
        encoded = self.tokenizer(text, pair, **parameters.for_tokenizer())
        if len(encoded["input_ids"]) != 1:
            raise UsageError(f"'{self.task}' expects one text at a time in a dict, got {len(encoded['input_ids'])}")
        yield Piece(self.row(encoded))

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: TextClassificationParameters) -> Any:  # noqa: ARG002 - a text is one piece
        """Return labels with their scores, best first."""
        logits = outputs[0]["logits"].astype(np.float32)
        scores = chosen("function_to_apply", self._function(parameters), FUNCTIONS)(logits)
        labels = self.config["id2label"]
        return [
            {"label": labels.get(index, f"LABEL_{index}"), "score": float(scores[index])}
            for index in ranked(scores, parameters.top_k)
        ]

    def shaped(self, result: Any, single: bool, options: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the same for both
        """Return the only label itself where `top_k` was never given."""
        return result if "top_k" in self.given or "top_k" in options else result[0]

    def alone(self, result: Any, inputs: Any, options: Mapping[str, Any]) -> Any:
        """Return a text's result in a list, unless this call asks for `top_k`."""
        return [result] if isinstance(inputs, str) and "top_k" not in options else result

    def _function(self, parameters: TextClassificationParameters) -> str:
        return parameters.function_to_apply or default_function(self.config)

    def _text_and_pair(self, item: Any, parameters: TextClassificationParameters) -> tuple[Any, Any]:
        if isinstance(item, Mapping):
            if "text" not in item or set(item) - {"text", "text_pair"}:
                raise UsageError(f"'{self.task}' expects {self.expects}, got a dict of {', '.join(map(repr, item))}")
            return item["text"], item.get("text_pair")
        if isinstance(item, list) and len(item) == 1 and isinstance(item[0], list) and len(item[0]) == 2:
            return item[0][0], item[0][1]  # [[text, pair]]: how transformers once took pairs, and takes them still
        return self.text(item), parameters.text_pair
