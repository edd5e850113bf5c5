"""Seeded models of one or two layers that no checkpoint of the table stands for: Whisper, Moonshine, a llama."""

import json
from functools import cache
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tests.checkpoints import Spread, spread_weights
from tests.tokenizers_tiny import SENTENCES

torch.set_num_threads(1)  # a model this small is slower on more

STATES = 50  # of the encoder: a second
CONTROLS = ("<|startoftranscript|>", "<|en|>", "<|fr|>", "<|de|>", "<|ja|>", "<|translate|>", "<|transcribe|>")
CONTROLS += ("<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")


def seeded(model_class: Any, config: Any, seed: int = 0) -> Any:
    """Return a model of the class with drawn weights; the global generator stays as it was."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = model_class(config).eval()
        spread_weights(model, Spread())
    return model


@cache
def whisper_tokenizer(*, special: bool = True) -> Any:
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
def tiny_whisper(*, multilingual: bool = True, seed: int = 0) -> Any:
    """Return a model that hears a second at once; its generation config is that of a published checkpoint."""
    tokenizer = whisper_tokenizer()
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
    model = seeded(transformers.WhisperForConditionalGeneration, config, seed)
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


def tiny_moonshine(tokenizer: Any) -> Any:
    """Return an encoder-decoder that hears samples and is no Whisper."""
    config = transformers.MoonshineConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1,
        encoder_num_attention_heads=2,
        decoder_num_attention_heads=2,
        max_position_embeddings=64,
        decoder_start_token_id=5,
        bos_token_id=5,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return seeded(transformers.MoonshineForConditionalGeneration, config)


def tiny_llama(tokenizer: Any, positions: int) -> Any:
    """Return a decoder with grouped heads that pads nothing."""
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return seeded(transformers.LlamaForCausalLM, config)
