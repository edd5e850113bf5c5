"""One call of generation twice: by the token loop on a fake decoder, and by transformers on the same model."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tests.runtime.generation.torch_decoding import (
    TorchDecoding,
    TorchSeq2SeqDecoding,
    drawn_prompts,
    left_padded,
    right_padded,
    tiny_model,
)
from vitrify.runtime.generation.base import Decoding
from vitrify.runtime.generation.config import GenerationConfig
from vitrify.runtime.generation.generated import Generated, padded
from vitrify.runtime.generation.loop import generate

PAD = 3
# Tiny models rarely write one given token: with many that end, rows end at different lengths.
ENDS = list(range(4, 14))
DECODERS = ("llama", "gpt2")
SEQ2SEQ = ("t5", "bart")


def opened(model_type: str, prompts: Sequence[np.ndarray], kind: type[TorchDecoding] | None = None) -> Decoding:
    """Return a fresh decoder; an encoder-decoder's encoder reads the prompts."""
    model = tiny_model(model_type)
    if model_type in SEQ2SEQ:
        return (kind or TorchSeq2SeqDecoding)(model, prompts)
    return (kind or TorchDecoding)(model)


def starts(model_type: str, prompts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return what the decoder's rows begin with."""
    if model_type not in SEQ2SEQ:
        return list(prompts)
    return [np.array([tiny_model(model_type).config.decoder_start_token_id])] * len(prompts)


def ours(
    model_type: str,
    lengths: Sequence[int],
    options: dict[str, Any],
    *,
    kind: type[TorchDecoding] | None = None,
    seed: int = 0,
    **call: Any,
) -> Generated:
    prompts = drawn_prompts(lengths, seed)
    config = GenerationConfig.from_mapping(tiny_model(model_type).generation_config.to_dict()).updated(**options)
    encoder = {"encoder_ids": prompts} if model_type in SEQ2SEQ else {}
    decoding = call.pop("decoding", None) or opened(model_type, prompts, kind)
    return generate(decoding, starts(model_type, prompts), config, **encoder, **call)


def theirs(model_type: str, lengths: Sequence[int], options: dict[str, Any], *, seed: int = 0, **call: Any) -> Any:
    """Return what transformers generates, with `sequences` and what else was asked for."""
    pad = right_padded if model_type in SEQ2SEQ else left_padded
    ids, mask = pad(drawn_prompts(lengths, seed))
    ids = ids.masked_fill(mask == 0, PAD)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the default length
        return tiny_model(model_type).generate(
            ids, attention_mask=mask, return_dict_in_generate=True, **options, **call
        )


def are_alike(made: Generated, expected: Any) -> bool:
    """Tell whether the tokens are the same ones."""
    return np.array_equal(padded(made, PAD), expected.sequences.numpy())
