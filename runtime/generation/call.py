"""One call of generation on a bundle: which arguments are the config's, which the call's, which feed an encoder.

It is what pipelines and `LoadedBundle.generate` share; the loop itself knows no bundle.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .config import GenerationConfig
from .loop import Generated, generate

if TYPE_CHECKING:
    from ..loading import LoadedBundle

# Special tokens that checkpoints without a generation_config.json name in config.json.
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_eos_token_id")
_CONFIG_NAMES = frozenset(GenerationConfig.names())


def generation_settings(bundle: "LoadedBundle") -> dict[str, Any]:
    """Return what the checkpoint says of generation: its special tokens, its generation_config.json over them."""
    nested = bundle.config.get("decoder") or bundle.config.get("text_config") or {}
    found = {
        name: config[name] for config in (nested, bundle.config) for name in _TOKENS if config.get(name) is not None
    }
    return found | {name: value for name, value in bundle.generation_config.items() if value is not None}


def generate_rows(
    bundle: "LoadedBundle",
    prompts: Sequence[np.ndarray],
    given: Mapping[str, Any],
    *,
    features: Mapping[str, np.ndarray] | None = None,
) -> Generated:
    """Generate for prompts of any lengths, as one batch.

    Parameters
    ----------
    bundle
        Of a family that generates.
    prompts
        Token rows, 1-D int64: what a decoder continues, or what the encoder of an encoder-decoder reads.
    given
        Fields of `GenerationConfig` by name, over the checkpoint's own, and what belongs to a call: `streamer`,
        `logits_processor`, `stopping_criteria`, `prefix_allowed_tokens_fn`, `negative_prompt_ids`, `decoder_input_ids`,
        `assistant_model`, `grammar`, `json_schema`, `regex`.
    features
        What an encoder of speech or images reads instead, by the names of its graph, one row each; then `prompts` are
        what the answers begin with, and may be empty for the usual start.

    Raises
    ------
    UsageError
        An argument that cannot be right.

    """
    call = {name: value for name, value in given.items() if value is not None}
    fields = {name: call.pop(name) for name in list(call) if name in _CONFIG_NAMES}
    config = GenerationConfig.from_mapping(generation_settings(bundle)).updated(**fields)
    starts = call.pop("decoder_input_ids", None)
    encoder_ids = None
    if bundle.manifest.family == "encoder-decoder":
        if features is None:
            features, encoder_ids = _encoder_inputs(bundle, prompts), prompts
            prompts = []
        rows = len(next(iter(features.values())))
        prompts = list(starts) if starts is not None else prompts or [_start(config)] * rows
    return _generated(bundle, prompts, config, call, features or {}, encoder_ids)


def _generated(
    bundle: "LoadedBundle",
    prompts: Sequence[np.ndarray],
    config: GenerationConfig,
    call: dict[str, Any],
    features: Mapping[str, np.ndarray],
    encoder_ids: Sequence[np.ndarray] | None,
) -> Generated:
    """Run the loop with what belongs to this call."""
    decoding = bundle.decoding(**features)
    processors = list(call.pop("logits_processor", ()))
    negative = call.pop("negative_prompt_ids", None)
    options: dict[str, Any] = {
        "stops": list(call.pop("stopping_criteria", ())),
        "prefix_allowed_tokens_fn": call.pop("prefix_allowed_tokens_fn", None),
        "streamer": call.pop("streamer", None),
        "negative": None if negative is None else (bundle.decoding(**features), _rows(negative)),
    }
    if call:
        raise UsageError(f"generation takes no argument '{next(iter(call))}' here")
    return generate(
        decoding,
        prompts,
        config,
        processors=processors,
        encoder_ids=encoder_ids,
        tokenizer=bundle.tokenizer,
        **options,
    )


def _encoder_inputs(bundle: "LoadedBundle", rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return ragged rows as the encoder's inputs, int64 [rows, longest], padded on the right."""
    longest = max(map(len, rows))
    pad = generation_settings(bundle).get("pad_token_id") or 0
    ids, mask = np.full((len(rows), longest), pad, np.int64), np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


def _start(config: GenerationConfig) -> np.ndarray:
    """Return what an answer begins with."""
    first = config.decoder_start_token_id if config.decoder_start_token_id is not None else config.bos_token_id
    if first is None:
        raise UsageError("the checkpoint says no decoder_start_token_id: pass decoder_start_token_id=")
    return np.atleast_1d(np.asarray(first, np.int64))


def _rows(ids: Any) -> list[np.ndarray]:
    """Return token ids as rows, int64."""
    return [np.atleast_1d(np.asarray(row, np.int64)) for row in np.atleast_2d(np.asarray(ids))]


def rows_of(input_ids: Any, attention_mask: Any = None) -> list[np.ndarray]:
    """Return the rows of padded arrays [rows, tokens] without their padding."""
    ids = np.atleast_2d(np.asarray(input_ids, np.int64))
    mask = np.ones_like(ids) if attention_mask is None else np.atleast_2d(np.asarray(attention_mask))
    if mask.shape != ids.shape:
        raise UsageError(f"attention_mask is {list(mask.shape)}, input_ids {list(ids.shape)}: give them one shape")
    return [row[kept.astype(bool)] for row, kept in zip(ids, mask, strict=True)]
