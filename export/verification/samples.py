"""Seeded inputs for tracing and for the parity grid, made from what the checkpoint's own processor knows."""

from typing import Any

import numpy as np

from ...runtime.errors import UsageError
from ...runtime.graphs.signature import MASK, POOLED
from ...runtime.numerics import Arrays
from ..checkpoint.opened import Checkpoint


class TextSamples:
    """Rows of random tokens inside the tokenizer's own special tokens, ragged and padded on its side."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        tokenizer = checkpoint.tokenizer
        self.names = checkpoint.input_names
        self.left = tokenizer.padding_side == "left"
        self.pad = tokenizer.pad_token_id or 0
        self.segments = min(getattr(checkpoint.config, "type_vocab_size", 1) or 1, 2)
        self.prefix, self.suffix = _special_tokens(tokenizer)
        special = {*tokenizer.all_special_ids, getattr(checkpoint.config, "pad_token_id", None)}
        known = getattr(checkpoint.config.get_text_config(decoder=True), "vocab_size", None) or len(tokenizer)
        self.words = np.array([token for token in range(min(known, len(tokenizer))) if token not in special], np.int64)
        if not self.words.size:
            raise UsageError(f"none of the tokenizer's {len(tokenizer)} tokens is a word within vocab_size={known}")

    def batch(self, rows: int, length: int, *, seed: int = 0, full: bool = False) -> Arrays:
        """Return int64 arrays [rows, length]: the first row is full; the others are padded, unless `full`."""
        random = np.random.default_rng([seed, rows, length])
        shortest = length if full else min(len(self.prefix) + len(self.suffix) + 1, length)
        lengths = [length, *random.integers(shortest, length, rows - 1, endpoint=True)]
        ids = np.full((rows, length), self.pad, np.int64)
        mask = np.zeros((rows, length), np.int64)
        for row, size in enumerate(lengths):
            span = slice(length - size, None) if self.left else slice(0, size)
            ids[row, span] = self._row(size, random)
            mask[row, span] = 1
        segments = ((mask.cumsum(1) > (mask.sum(1, keepdims=True) + 1) // 2) & (self.segments > 1)).astype(
            np.int64
        ) * mask
        made = {"input_ids": ids, MASK: mask, "token_type_ids": segments}
        if POOLED in self.names:  # the first tokens of each row are the prompt's, some of its own follow
            made[POOLED] = mask * (mask.cumsum(1) > random.integers(0, lengths)[:, None])
        return {name: made[name] for name in self.names}

    def _row(self, size: int, random: np.random.Generator) -> np.ndarray:
        """Return `size` tokens; a row too short for all special tokens keeps the last ones, which heads pool on."""
        body = random.choice(self.words, max(size - len(self.prefix) - len(self.suffix), 0))
        return np.concatenate([self.prefix, body, self.suffix])[-size:]


def _special_tokens(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids that the tokenizer puts before and after a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    text = [index for index, flag in enumerate(special) if not flag] or [len(ids)]
    return np.array(ids[: text[0]], np.int64), np.array(ids[text[-1] + 1 :], np.int64)


class SpeechSamples:
    """Noise with the spread of normalized speech; rows are ragged where the model takes a mask."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.names = checkpoint.input_names

    def batch(self, rows: int, samples: int, *, seed: int = 0) -> Arrays:
        """Return `input_values`, float32 [rows, samples], and int64 `attention_mask` where it is an input."""
        random = np.random.default_rng([seed, rows, samples])
        lengths = [samples, *random.integers(-(-samples * 3 // 4), samples, rows - 1, endpoint=True)]
        mask = (np.arange(samples) < np.array(lengths)[:, None]).astype(np.int64)
        values = random.standard_normal((rows, samples), np.float32)
        if "attention_mask" in self.names:
            values *= mask
        made = {"input_values": values, "attention_mask": mask}
        return {name: made[name] for name in self.names}


class ImageSamples:
    """Noise with the spread of a normalized photograph."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        # An encoder-decoder keeps its encoder's settings by themselves.
        config = getattr(checkpoint.config, "encoder", checkpoint.config)
        self.channels = getattr(config, "num_channels", 3)

    def batch(self, rows: int, height: int, width: int, *, seed: int | tuple[int, ...] = 0) -> Arrays:
        """Return `pixel_values`, float32 [rows, channels, height, width]."""
        random = np.random.default_rng([*np.atleast_1d(seed), rows, height, width])
        shape = (rows, self.channels, height, width)
        return {"pixel_values": random.standard_normal(shape, np.float32)}


def processed_size(processor: Any) -> tuple[int, int]:
    """Return (height, width) of what the image processor makes of a photograph of common shape."""
    photograph = np.zeros((480, 640, 3), np.uint8)
    made = np.asarray(processor(photograph, return_tensors="np")["pixel_values"])
    return made.shape[-2], made.shape[-1]
