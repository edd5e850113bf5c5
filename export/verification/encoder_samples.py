"""Seeded inputs of an encoder, of each kind: text, images, speech; and which of their axes are dynamic."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from ...runtime.numerics import Arrays
from ..checkpoint.opened import Checkpoint
from ..tracing.tracer import Axes
from .samples import ImageSamples, TextSamples, processed_size

RATE = 16_000


class Source(Protocol):
    """Makes batches of inputs for an encoder."""

    def batch(self, rows: int, size: int, *, seed: int = 0) -> Arrays:
        """Return `rows` inputs of about `size` positions each."""
        ...


class TextSource:
    """Ragged rows of tokens, padded on the tokenizer's side."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.samples = TextSamples(checkpoint)
        self.samples.names = ("input_ids", "attention_mask")

    def batch(self, rows: int, size: int, *, seed: int = 0) -> Arrays:
        return self.samples.batch(rows, size, seed=seed)


class SpeechSource:
    """Noise of different loudness over time, through the checkpoint's own feature extractor."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.extractor = checkpoint.speech_processor
        self.names = checkpoint.forward_parameters

    def batch(self, rows: int, size: int, *, seed: int = 0) -> Arrays:
        random = np.random.default_rng([seed, rows, size])
        rate = self.extractor.sampling_rate
        lengths = [size * rate // 10 - row * rate // 20 for row in range(rows)]
        waves = [(random.standard_normal(n) * np.linspace(0.05, 0.5, n)).astype(np.float32) for n in lengths]
        padded = type(self.extractor).__name__ == "WhisperFeatureExtractor"  # trained on windows of one length
        made = self.extractor(waves, sampling_rate=rate, return_tensors="np", padding="max_length" if padded else True)
        kept = {name: np.asarray(value) for name, value in made.items() if name in self.names}
        return {name: value.astype(np.int64) if "mask" in name else value for name, value in kept.items()}


class ImageSource:
    """Noise of the size that the image processor makes."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.samples = ImageSamples(checkpoint)
        self.size = processed_size(checkpoint.image_processor)

    def batch(self, rows: int, size: int, *, seed: int = 0) -> Arrays:
        return self.samples.batch(rows, *self.size, seed=(seed, size))


class PatchSource:
    """Noisy pictures of different shapes, cut into patches by the checkpoint's own processor."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.processor = checkpoint.image_processor

    def batch(self, rows: int, size: int, *, seed: int = 0) -> Arrays:
        random = np.random.default_rng([seed, rows, size])
        shapes = [(40 + 8 * size, 60 + 24 * row, 3) for row in range(rows)]
        images = [random.integers(0, 256, shape, np.uint8) for shape in shapes]
        made = self.processor(images, return_tensors="np", max_patches=8 * size)
        return {name: np.asarray(made[name]) for name in ("flattened_patches", "attention_mask")}


_SOURCES: Mapping[str, Any] = {
    "input_ids": TextSource,
    "input_features": SpeechSource,
    "input_values": SpeechSource,
    "pixel_values": ImageSource,
    "flattened_patches": PatchSource,
}


def source_of(checkpoint: Checkpoint) -> Source:
    """Return what makes inputs for this checkpoint's encoder."""
    return _SOURCES[checkpoint.model.main_input_name](checkpoint)


def axes_of(source: Source, *, second: str) -> Axes:
    """Return the named axes of a source's inputs: `batch`, and `second` for what differs between short and long."""
    short, long = source.batch(2, 7), source.batch(3, 11)
    return {name: dict(_dynamic(short[name], long[name], second)) for name in short}


def _dynamic(short: np.ndarray, long: np.ndarray, second: str) -> Iterator[tuple[int, str]]:
    for position, (one, other) in enumerate(zip(short.shape, long.shape, strict=True)):
        if one != other:
            yield position, second if position else "batch"
