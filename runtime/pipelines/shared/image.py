"""What the pipelines that take images share: what one image is, and how it becomes what the graph takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ...errors import UsageError
from ...processing.image.source import load_image
from ...processing.open_files import is_file
from .base import Each, Parameters, Pipeline, Single
from .pieces import Piece

if TYPE_CHECKING:
    from ...loading import LoadedBundle


@dataclass(frozen=True)
class ImageParameters(Parameters):
    """An argument that is None counts as not given. `timeout`: seconds that the download of an image may take."""

    timeout: float | None = None

    def __post_init__(self) -> None:
        seconds = self.timeout
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0):
            raise UsageError(f"timeout must be a number of seconds greater than 0, got {seconds!r}")

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with what `options` give over them; raise UsageError for an unknown argument."""
        known = self.names()
        return super().updated(task, {k: value for k, value in options.items() if value is not None or k not in known})


class ImagePipeline(Pipeline[Single, Each]):
    """A task on images: paths, http(s) URLs, base64, bytes, binary files, Pillow images or arrays; an array is one."""

    input_name: ClassVar[str | None] = "images"
    expects: ClassVar[str] = "an image (path, URL, base64, bytes, binary file, Pillow image or numpy array)"

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        if self.image_processor is None:
            raise UsageError(
                f"'{task}' needs an image processor and bundle '{loaded.name}' has none: pass image_processor=FOLDER"
            )

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one image."""
        kinds = str | bytes | bytearray | memoryview | Path
        return isinstance(inputs, kinds) or _is_pixels(inputs) or is_file(inputs)

    def image_piece(self, item: Any, *, timeout: float | None, settings: Mapping[str, Any]) -> Piece:
        """Return the image as the graph takes it: what the processor makes of it, without the batch axis."""
        source = np.asarray(item) if hasattr(item, "__array__") else item
        values = self.image_processor(load_image(source, timeout=timeout), **settings)
        return Piece({name: array[0] for name, array in values.items()})


def _is_pixels(value: Any) -> bool:
    """Tell an array (numpy's, or another library's that converts to it) or a Pillow image, without importing Pillow."""
    return hasattr(value, "__array__") or hasattr(value, "getbands")
