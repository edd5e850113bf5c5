"""image-classification: the likeliest labels of an image, best first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import UsageError
from ..numerics import Row, ranked
from ..processing.labels import FUNCTIONS, default_function
from .results import Label
from .shared.base import chosen
from .shared.image import ImageParameters, ImagePipeline
from .shared.pieces import Piece


@dataclass(frozen=True)
class ImageClassificationParameters(ImageParameters):
    """`function_to_apply`: "softmax", "sigmoid" or "none"; by default what the checkpoint's config asks for."""

    top_k: int = 5
    function_to_apply: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.top_k, int) or isinstance(self.top_k, bool) or self.top_k < 1:
            raise UsageError(f"top_k must be a whole number of at least 1, got {self.top_k!r}")
        if self.function_to_apply is not None:
            chosen("function_to_apply", self.function_to_apply, FUNCTIONS)


class ImageClassificationPipeline(ImagePipeline[list[Label], list[Label]]):
    """`(images, *, top_k=5, function_to_apply=None, timeout=None)` -> [{"label", "score"}, ...] for each image."""

    parameters = ImageClassificationParameters
    reads_ahead: ClassVar[bool] = True

    def pieces(self, item: Any, parameters: ImageClassificationParameters) -> Iterator[Piece]:
        """Yield the image."""
        yield self.image_piece(item, timeout=parameters.timeout, settings={})

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: ImageClassificationParameters) -> Any:  # noqa: ARG002 - one piece, without context
        """Return the best labels with their scores."""
        name = parameters.function_to_apply or default_function(self.config)
        scores = chosen("function_to_apply", name, FUNCTIONS)(outputs[0]["logits"])
        labels = self.config["id2label"]
        return [
            {"label": labels.get(index, f"LABEL_{index}"), "score": float(scores[index])}
            for index in ranked(scores, parameters.top_k)
        ]
