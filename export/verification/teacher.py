"""Teacher-forced references: what PyTorch answers, without a cache, at every step of tokens that are given."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...runtime.numerics import Arrays
from ...runtime.verification.parity import Case
from ..checkpoint.opened import Checkpoint
from .forgetful import Forgetful
from .lengths import rotation_switch
from .samples import TextSamples


@dataclass(frozen=True)
class Course:
    """One comparison: `rows` ragged prompts of at most `prompt` tokens, then `chunks` of further tokens."""

    rows: int
    prompt: int
    chunks: tuple[int, ...]

    @property
    def name(self) -> str:
        """What the figures of this course are called."""
        return f"batch {self.rows} x prompt {self.prompt} + {sum(self.chunks)} tokens"

    def inputs(self, checkpoint: Checkpoint) -> Arrays:
        """Return `input_ids` int64 [rows, tokens], `starts` int64 [rows], where rows begin, and `chunks` int64."""
        samples = prompts_of(checkpoint)
        prompts = samples.batch(self.rows, self.prompt, seed=1)
        rest = samples.batch(self.rows, max(sum(self.chunks), 1), seed=2, full=True)["input_ids"][:, : sum(self.chunks)]
        return {
            "input_ids": np.concatenate([prompts["input_ids"], rest], axis=1),
            "starts": (prompts["attention_mask"] == 0).sum(1),
            "chunks": np.array([self.prompt, *self.chunks], np.int64),
        }


def prompts_of(checkpoint: Checkpoint) -> TextSamples:
    """Return rows of random tokens, padded on the left: the last column is every row's last token."""
    samples = TextSamples(checkpoint)
    samples.left = True
    samples.names = ("input_ids", "attention_mask")
    return samples


class TeacherOracle:
    """The logits of a language model in one forward call over whole rows.

    Where the model rotates long rows otherwise, in two: what stands before the switch was answered before it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model = Forgetful(checkpoint.model)
        self.switch = rotation_switch(checkpoint.config)

    def case(self, name: str, inputs: Arrays) -> Case:
        """Return the inputs with `logits`, float32 [rows * positions, vocabulary], from the prompt's last token on."""
        prompt, tokens = int(inputs["chunks"][0]), inputs["input_ids"].shape[1]
        ends = [tokens]
        if self.switch is not None and prompt <= self.switch < tokens:
            ends = [self.switch, tokens]
        starts = [prompt, *(end + 1 for end in ends[:-1])]
        logits = [self._logits(inputs, start, end) for start, end in zip(starts, ends, strict=True)]
        return Case(name, inputs, {"logits": torch.cat(logits, dim=1).flatten(0, 1).float().numpy()})

    def _logits(self, inputs: Arrays, first: int, last: int) -> torch.Tensor:
        """Return the logits behind the tokens from the `first` to the `last`, from 1 on, of rows that end there."""
        ids = torch.from_numpy(inputs["input_ids"][:, :last])
        mask = (torch.arange(last) >= torch.from_numpy(inputs["starts"])[:, None]).long()
        given: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        if "position_ids" in self.checkpoint.forward_parameters:
            given["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)
        if "logits_to_keep" in self.checkpoint.forward_parameters:
            given["logits_to_keep"] = last - first + 1
        return self.model(**given).logits[:, -(last - first + 1) :]


class Seq2SeqOracle:
    """The logits of an encoder-decoder in one forward call over whole answers."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.model = Forgetful(checkpoint.model)

    def case(self, name: str, inputs: Arrays) -> Case:
        """Return the inputs with `logits`, float32 [rows * positions, vocabulary], from the prompt's last token on."""
        given = to_torch({key: value for key, value in inputs.items() if key != "chunks"})
        logits = self.model(**given, use_cache=False).logits[:, int(inputs["chunks"][0]) - 1 :]
        return Case(name, inputs, {"logits": logits.flatten(0, 1).float().numpy()})


def answer_tokens(checkpoint: Checkpoint, rows: int, tokens: int, *, seed: int = 0) -> np.ndarray:
    """Return random answers of equal length, int64 [rows, tokens]."""
    words = prompts_of(checkpoint).words
    return np.random.default_rng([seed, rows, tokens]).choice(words, (rows, tokens))


def to_torch(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Return the arrays as tensors, by the same names."""
    return {name: torch.from_numpy(value) for name, value in arrays.items()}
