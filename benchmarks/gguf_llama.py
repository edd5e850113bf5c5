"""A Llama checkpoint from a GGUF file: config, dequantized weights and a byte-level tokenizer for transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .saving import save_model

_CONTROL = 3  # the token type of tokens that no text is encoded to
_PARTS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def write_llama(file: Path, folder: Path) -> None:
    """Write the checkpoint, in float32 and with tied embeddings, into `folder`."""
    import torch
    from gguf import GGUFReader, dequantize
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    reader = GGUFReader(file)
    fields: dict[str, Callable[[], Any]] = {name: field.contents for name, field in reader.fields.items()}
    special = {f"{ours}_token_id": fields[f"tokenizer.ggml.{theirs}_token_id"]() for ours, theirs in _SPECIAL.items()}
    model = LlamaForCausalLM(LlamaConfig(**_sizes(fields), **special, tie_word_embeddings=True))
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    weights = {}
    for tensor in reader.tensors:
        part = tensor.name.split(".")[-2]
        array = dequantize(tensor.data, tensor.tensor_type)
        weights[_renamed(tensor.name)] = torch.tensor(_halves(array, heads[part]) if part in heads else array)
    model.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    model.generation_config = GenerationConfig(**special)
    save_model(model, folder)
    _tokenizer(fields).save_pretrained(folder)


_SPECIAL = {"bos": "bos", "eos": "eos", "pad": "padding"}


def _sizes(fields: dict[str, Callable[[], Any]]) -> dict[str, Any]:
    names = {
        "vocab_size": "vocab_size",
        "hidden_size": "embedding_length",
        "intermediate_size": "feed_forward_length",
        "num_hidden_layers": "block_count",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
    }
    sizes = {ours: fields[f"llama.{theirs}"]() for ours, theirs in names.items()}
    # Stored in single precision; the published value is 1e-05.
    epsilon = float(f"{fields['llama.attention.layer_norm_rms_epsilon']():.6g}")
    rope = {"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]()}
    return {**sizes, "rms_norm_eps": epsilon, "rope_parameters": rope}


def _renamed(name: str) -> str:
    outside = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    if name in outside:
        return outside[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{_PARTS[part]}.{kind}"


def _halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Undo GGUF's order of rotary rows, pairs side by side, where transformers rotates the halves of a head."""
    rows = weight.reshape(heads, -1, 2, weight.shape[-1])
    return rows.swapaxes(1, 2).reshape(weight.shape)


def _tokenizer(fields: dict[str, Callable[[], Any]]) -> Any:
    """Digits stand alone and words are bytes: the file's `tokenizer.ggml.pre` is smollm."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens, kinds = fields["tokenizer.ggml.tokens"](), fields["tokenizer.ggml.token_type"]()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]()]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=merges))
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    backend.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, kinds, strict=True) if kind == _CONTROL]
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    named = {
        f"{ours}_token": tokens[fields[f"tokenizer.ggml.{theirs}_token_id"]()] for ours, theirs in _SPECIAL.items()
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **named,
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]()],
        model_max_length=fields["llama.context_length"](),
        chat_template=fields["tokenizer.chat_template"](),
    )
