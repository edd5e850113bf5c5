"""A seeded Whisper of two layers that hears one second at once, its tokenizer, and the fake at the seam of its loop."""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, Self

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.checkpoints import Spread, spread_weights
from tests.tokenizers_tiny import SENTENCES
from vitrify.runtime.generation.base import Decoding

torch.set_num_threads(1)  # a model this small is slower on more

STATES = 50  # of the encoder: a second
CONTROLS = ("<|startoftranscript|>", "<|en|>", "<|fr|>", "<|de|>", "<|ja|>", "<|translate|>", "<|transcribe|>")
CONTROLS += ("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")


@cache
def tiny_tokenizer(*, special: bool = True) -> Any:
    """Return a byte-level tokenizer; without `special` its control tokens are like others, as in some folders."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        SENTENCES, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(backend.to_str())["model"]
    tokenizer = transformers.WhisperTokenizer(
        vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]], pad_token="<|endoftext|>"
    )
    if special:
        tokenizer.add_special_tokens({"extra_special_tokens": list(CONTROLS)})
    else:
        tokenizer.add_tokens(list(CONTROLS), special_tokens=True)
    tokenizer.add_tokens([f"<|{step * 0.02:.2f}|>" for step in range(STATES + 1)])
    return tokenizer


@cache
def tiny_model(*, multilingual: bool = True, seed: int = 0) -> Any:
    """Return a model whose tokens vary; its generation config is that of a published checkpoint."""
    tokenizer = tiny_tokenizer()
    end, start = (tokenizer.convert_tokens_to_ids(token) for token in ("<|endoftext|>", CONTROLS[0]))
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    config = transformers.WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=96,
        decoder_ffn_dim=96,
        max_source_positions=STATES,
        max_target_positions=32,
        **special,
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = transformers.WhisperForConditionalGeneration(config).eval()
        spread_weights(model, Spread())
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in CONTROLS}
    languages = {
        "lang_to_id": {token: ids[token] for token in CONTROLS[1:5]},
        "task_to_id": {name: ids[f"<|{name}|>"] for name in ("translate", "transcribe")},
    }
    model.generation_config = transformers.GenerationConfig(
        **special,
        **(languages if multilingual else {}),
        is_multilingual=multilingual,
        alignment_heads=[[0, 1], [1, 0], [1, 3]],
        suppress_tokens=[1, 2, start, *(ids[token] for token in CONTROLS[5:9])],
        begin_suppress_tokens=[3, end],
        max_length=32,
        max_initial_timestamp_index=20,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        return_timestamps=False,
    )
    return model


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
