"""Whisper's weights from a CTranslate2 `model.bin`, under the names that transformers gives them."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def whisper_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the float32 weights of a Whisper stored in single or half precision."""
    names = {}
    with path.open("rb") as file:
        stored = _variables(file)
    for part in ("encoder", "decoder"):
        for layer in range(_layers(stored, part)):
            to, source = f"model.{part}.layers.{layer}.", f"{part}/layer_{layer}/"
            names |= _self_attention(stored, to, source)
            if part == "decoder":
                names |= _cross_attention(stored, to, source)
            names |= _norm(stored, f"{to}final_layer_norm", f"{source}ffn/layer_norm")
            names |= _linear(stored, f"{to}fc1", f"{source}ffn/linear_0")
            names |= _linear(stored, f"{to}fc2", f"{source}ffn/linear_1")
        names |= _norm(stored, f"model.{part}.layer_norm", f"{part}/layer_norm")
        names[f"model.{part}.embed_positions.weight"] = stored[f"{part}/position_encodings/encodings"]
    names |= _linear(stored, "model.encoder.conv1", "encoder/conv1")
    names |= _linear(stored, "model.encoder.conv2", "encoder/conv2")
    names["model.decoder.embed_tokens.weight"] = names["proj_out.weight"] = stored["decoder/embeddings/weight"]
    return {name: array.astype(np.float32) for name, array in names.items()}


def _variables(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read past the header (version, specification, revision), then name, shape, dtype and bytes of each variable."""
    for skip in (lambda: _number(file, "I"), lambda: _string(file), lambda: _number(file, "I")):
        skip()
    return dict(_variable(file) for _ in range(_number(file, "I")))


def _variable(file: BinaryIO) -> tuple[str, np.ndarray]:
    name = _string(file)
    shape = [_number(file, "I") for _ in range(_number(file, "B"))]
    dtype = _DTYPES[_number(file, "B")]
    return name, np.frombuffer(file.read(_number(file, "I")), dtype).reshape(shape)


def _number(file: BinaryIO, code: str) -> int:
    return struct.unpack(f"<{code}", file.read(struct.calcsize(code)))[0]


def _string(file: BinaryIO) -> str:
    return file.read(_number(file, "H")).rstrip(b"\0").decode()


def _layers(stored: Mapping[str, np.ndarray], part: str) -> int:
    return len({name.split("/")[1] for name in stored if name.startswith(f"{part}/layer_") and "/ffn/" in name})


def _self_attention(stored: Mapping[str, np.ndarray], to: str, source: str) -> dict[str, np.ndarray]:
    """Split the fused projection; the key's bias, which Whisper has not, is stored as zeros."""
    query, key, value = np.split(stored[f"{source}self_attention/linear_0/weight"], 3)
    query_bias, _, value_bias = np.split(stored[f"{source}self_attention/linear_0/bias"], 3)
    return {
        f"{to}self_attn.q_proj.weight": query,
        f"{to}self_attn.q_proj.bias": query_bias,
        f"{to}self_attn.k_proj.weight": key,
        f"{to}self_attn.v_proj.weight": value,
        f"{to}self_attn.v_proj.bias": value_bias,
        **_linear(stored, f"{to}self_attn.out_proj", f"{source}self_attention/linear_1"),
        **_norm(stored, f"{to}self_attn_layer_norm", f"{source}self_attention/layer_norm"),
    }


def _cross_attention(stored: Mapping[str, np.ndarray], to: str, source: str) -> dict[str, np.ndarray]:
    key, value = np.split(stored[f"{source}attention/linear_1/weight"], 2)
    _, value_bias = np.split(stored[f"{source}attention/linear_1/bias"], 2)
    return {
        f"{to}encoder_attn.k_proj.weight": key,
        f"{to}encoder_attn.v_proj.weight": value,
        f"{to}encoder_attn.v_proj.bias": value_bias,
        **_linear(stored, f"{to}encoder_attn.q_proj", f"{source}attention/linear_0"),
        **_linear(stored, f"{to}encoder_attn.out_proj", f"{source}attention/linear_2"),
        **_norm(stored, f"{to}encoder_attn_layer_norm", f"{source}attention/layer_norm"),
    }


def _linear(stored: Mapping[str, np.ndarray], to: str, source: str) -> dict[str, np.ndarray]:
    return {f"{to}.{name}": stored[f"{source}/{name}"] for name in ("weight", "bias")}


def _norm(stored: Mapping[str, np.ndarray], to: str, source: str) -> dict[str, np.ndarray]:
    return {f"{to}.weight": stored[f"{source}/gamma"], f"{to}.bias": stored[f"{source}/beta"]}
