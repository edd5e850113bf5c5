"""image-feature-extraction: an image's hidden states, patch by patch, or its pooled features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import UsageError
from ..numerics import Row
from .shared.image import ImageParameters, ImagePipeline
from .shared.pieces import Piece

POOLED = "pooler_output"


@dataclass(frozen=True)
class ImageFeatureExtractionParameters(ImageParameters):
    """`pool=True` asks for the pooler's output; `return_tensors=True` gives a numpy array in place of nested lists."""

    image_processor_kwargs: Mapping[str, Any] = field(default_factory=dict)
    return_tensors: bool = False
    pool: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.image_processor_kwargs, Mapping):
            raise UsageError(f"image_processor_kwargs must be settings by name, got {self.image_processor_kwargs!r}")


class ImageFeatureExtractionPipeline(ImagePipeline[Any, Any]):
    """`(images, *, image_processor_kwargs={}, return_tensors=False, pool=False, timeout=None)`.

    Gives [1, patches, hidden] for each image ([1, channels, height, width] for a convolutional model), or what its
    pooler gives, [1, hidden], with `pool=True`.
    """

    parameters = ImageFeatureExtractionParameters
    reads_ahead: ClassVar[bool] = True

    def pieces(self, item: Any, parameters: ImageFeatureExtractionParameters) -> Iterator[Piece]:
        """Yield the image."""
        if parameters.pool and POOLED not in (names := [x.name for x in self.loaded.signature.outputs]):
            raise UsageError(
                f"pool=True needs a model with a pooler; this one outputs {', '.join(names)}: leave it out"
            )
        yield self.image_piece(item, timeout=parameters.timeout, settings=parameters.image_processor_kwargs)

    def result(
        self,
        pieces: Sequence[Piece],  # noqa: ARG002 - one piece, without context
        outputs: Sequence[Row],
        parameters: ImageFeatureExtractionParameters,
    ) -> Any:
        """Return the features with a batch axis of 1."""
        row = outputs[0]
        features = (row[POOLED] if parameters.pool else next(iter(row.values())))[None]
        return features if parameters.return_tensors else features.tolist()
