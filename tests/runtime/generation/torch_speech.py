"""Speech models in PyTorch as the fakes at the seam of Whisper's loop, and noise that they hear."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch

from vitrify.runtime.generation.base import Decoding


def noises(*frames: int, seed: int = 0) -> list[np.ndarray]:
    """Return features float32 [80, frames], loud enough to be told apart."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(80, count)).astype(np.float32) for count in frames]


class TorchSpeechModel:
    """A PyTorch Whisper as generation takes it; counts how often the encoder ran."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.config, self.generation_config = model.config.to_dict(), model.generation_config.to_dict()
        self.encoded_rows = 0

    @torch.no_grad()
    def decoding(self, features: np.ndarray) -> Decoding:
        self.encoded_rows += len(features)
        return TorchSpeechDecoding(
            self.model, self.model.model.encoder(torch.from_numpy(features.astype(np.float32))).last_hidden_state
        )

    @torch.no_grad()
    def alignment(self, features: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        self.model.set_attn_implementation("eager")
        output = self.model(
            input_features=torch.from_numpy(features),
            decoder_input_ids=torch.from_numpy(tokens),
            output_attentions=True,
        )
        heads = self.generation_config["alignment_heads"]
        return torch.stack([output.cross_attentions[layer][:, head] for layer, head in heads], 1).numpy()


class TorchSpeechDecoding(Decoding):
    """The decoder over rows of encoder states, without a cache: every step reads all tokens again."""

    def __init__(self, model: Any, encoded: torch.Tensor) -> None:
        self.model, self.encoded = model, encoded
        self.vocabulary, self.capacity = model.config.vocab_size, model.config.max_target_positions
        self.rows: list[list[int]] = [[] for _ in range(len(encoded))]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row) for row in self.rows])

    @torch.no_grad()
    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        new = [np.asarray(row).tolist() for row in tokens]
        self.rows = [row + more for row, more in zip(self.rows, new, strict=True)]
        longest = max(map(len, self.rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in self.rows])
        hidden = self.model.model.decoder(input_ids=ids, encoder_hidden_states=self.encoded).last_hidden_state
        kept = [hidden[i, len(row) - (keep or len(new[i])) : len(row)] for i, row in enumerate(self.rows)]
        return self.model.proj_out(torch.stack(kept)).numpy()

    def select(self, rows: np.ndarray) -> None:
        self.encoded = self.encoded[torch.as_tensor(rows)]
        self.rows = [self.rows[row] for row in rows]

    def truncate(self, length: int) -> None:
        self.rows = [row[:length] for row in self.rows]

    def clone(self) -> Self:
        other = type(self)(self.model, self.encoded)
        other.rows = list(self.rows)
        return other
