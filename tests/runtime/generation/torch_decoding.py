"""Decodings over PyTorch models: the fake at the seam of the token loop, and seeded models to run in it."""

from collections.abc import Sequence
from copy import copy, deepcopy
from functools import cache
from typing import Any, Self

import numpy as np
import torch
import transformers

from tests.checkpoints import Spread, spread_weights
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation.base import Decoding

VOCABULARY = 40
POSITIONS = 96


class TorchDecoding(Decoding):
    """A causal language model and its dynamic cache; ragged prompts are padded on the left and masked."""

    def __init__(self, model: Any) -> None:
        self.model = model
        config = model.config.get_text_config(decoder=True)
        self.vocabulary = int(config.vocab_size)
        self.capacity = getattr(config, "max_position_embeddings", None)
        self.cache = self._fresh_cache()
        self.mask = torch.zeros(0, 0, dtype=torch.long)
        self._given: np.ndarray | None = None

    def _fresh_cache(self) -> Any:
        return transformers.DynamicCache(config=self.model.config)

    @property
    def lengths(self) -> np.ndarray:
        return self.mask.sum(1).numpy()

    @torch.no_grad()
    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        ids, new = left_padded(tokens)
        mask = torch.cat([self.mask if len(self.mask) else new[:, :0], new], dim=1)
        if self.capacity is not None and mask.sum(1).max() > self.capacity:
            raise UsageError(f"{int(mask.sum(1).max())} tokens are more than {self.capacity}")
        logits = self._logits(ids, mask)
        self.mask = mask
        if self._given is not None:
            self._given.fill(np.nan)  # the contract: what was given before may be overwritten
        self._given = logits[:, -keep:].float().numpy().copy() if keep else logits.float().numpy().copy()
        return self._given

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        positions = self._positions(ids, mask)
        output = self.model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self.cache, use_cache=True
        )
        return output.logits

    def _positions(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]

    def select(self, rows: np.ndarray) -> None:
        index = torch.as_tensor(np.asarray(rows))
        take(self.cache, lambda states: states[index])
        self._select_mask(index)

    def _select_mask(self, index: torch.Tensor) -> None:
        if len(self.mask):  # before the first tokens there are no rows
            self.mask = self.mask[index]

    def truncate(self, length: int) -> None:
        """Keep the first tokens of every row, moved to the right end so that new ones follow them."""
        if not len(self.mask):
            return
        kept = self.mask.sum(1).clamp(max=length)
        width = int(kept.max())
        starts = self.mask.shape[1] - self.mask.sum(1)
        columns = starts[:, None] + torch.arange(width) - (width - kept)[:, None]
        mask = (columns >= starts[:, None]).long()
        columns = columns.clamp(min=0)
        rows = torch.arange(len(columns))[:, None]
        take(self.cache, lambda states: states.transpose(1, 2)[rows, columns].transpose(1, 2).contiguous())
        self.mask = mask

    def clone(self) -> Self:
        other = copy(self)
        other.cache, other._given = deepcopy(self.cache), None
        return other


class CountingDecoding(TorchDecoding):
    """Notes how many rows every run has, and how many tokens all runs together."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.rows: list[int] = []
        self.tokens = 0

    def append(self, tokens: Sequence[np.ndarray] | np.ndarray, *, keep: int | None = 1) -> np.ndarray:
        self.rows.append(len(tokens))
        self.tokens += sum(map(len, tokens))
        return super().append(tokens, keep=keep)


class TorchSeq2SeqDecoding(TorchDecoding):
    """The decoder of an encoder-decoder model, after its encoder ran on rows of any lengths."""

    has_encoder = True

    @torch.no_grad()
    def __init__(self, model: Any, encoder_ids: Sequence[np.ndarray]) -> None:
        super().__init__(model)
        self.capacity = getattr(model.config, "max_position_embeddings", None)
        ids, self.encoder_mask = right_padded(encoder_ids)
        self.encoded = model.get_encoder()(input_ids=ids, attention_mask=self.encoder_mask).last_hidden_state

    def _fresh_cache(self) -> Any:
        return transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        output = self.model(
            decoder_input_ids=ids,
            decoder_attention_mask=mask,
            encoder_outputs=transformers.modeling_outputs.BaseModelOutput(self.encoded),
            attention_mask=self.encoder_mask,
            past_key_values=self.cache,
            use_cache=True,
        )
        return output.logits

    def select(self, rows: np.ndarray) -> None:
        index = torch.as_tensor(np.asarray(rows))
        for part in (self.cache.self_attention_cache, self.cache.cross_attention_cache):
            take(part, lambda states: states[index])
        self.encoded, self.encoder_mask = self.encoded[index], self.encoder_mask[index]
        self._select_mask(index)

    def truncate(self, length: int) -> None:
        everything, self.cache = self.cache, self.cache.self_attention_cache
        super().truncate(length)
        self.cache = everything


def take(cache: Any, chosen: Any) -> None:
    for layer in cache.layers:
        if layer.is_initialized:
            layer.keys, layer.values = chosen(layer.keys), chosen(layer.values)


def left_padded(rows: Sequence[np.ndarray] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, int64 [rows, longest]."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, width - len(row) :] = torch.as_tensor(np.asarray(row))
        mask[index, width - len(row) :] = 1
    return ids, mask


def right_padded(rows: Sequence[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask, int64 [rows, longest]."""
    width = max(map(len, rows))
    ids, mask = torch.zeros(2, len(rows), width, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.as_tensor(np.asarray(row))
        mask[index, : len(row)] = 1
    return ids, mask


_SIZES = {
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
    "tie_word_embeddings": False,
}
_CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(
        **_SIZES,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
    ),
    "gpt2": lambda: transformers.GPT2Config(**_SIZES, n_embd=32, n_layer=2, n_head=4, n_positions=POSITIONS),
    "t5": lambda: transformers.T5Config(
        **_SIZES, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=3
    ),
    "bart": lambda: transformers.BartConfig(
        **_SIZES,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=POSITIONS,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    ),
}

# Weights, and the seed they are drawn from, with which greedy search repeats itself little.
_WEIGHTS = {
    "llama": (Spread(matrix=3.0, rest=0.05), 0),
    "gpt2": (Spread(matrix=3.0, rest=0.05), 0),
    "t5": (Spread(embedding=3.0, rest=0.1), 0),
    "bart": (Spread(rest=0.1), 1),
}


@cache
def tiny_model(model_type: str, seed: int = 0) -> Any:
    """Return a seeded model of two layers whose logits vary, with an empty generation config but for its tokens."""
    config = _CONFIGS[model_type]()
    spread, first = _WEIGHTS[model_type]
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed + first)
        model = auto.from_config(config).eval()
        spread_weights(model, spread)
    tokens = {
        name: getattr(config, name, None)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    }
    model.generation_config = transformers.GenerationConfig(**tokens)
    return model


def drawn_prompts(lengths: Sequence[int], seed: int = 0) -> list[np.ndarray]:
    """Return prompts of these lengths without special tokens, 1-D int64."""
    generator = np.random.default_rng(seed)
    return [generator.integers(4, VOCABULARY, length) for length in lengths]
