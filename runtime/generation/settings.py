"""What a checkpoint says of generation: its generation_config.json or, without one, the fields of its config.json.

It knows no bundle and no call.
"""

from collections.abc import Mapping
from typing import Any

from .config import CONFIG_NAMES

# Parts of a config that may describe the decoder, in the order in which transformers looks for one.
_DECODERS = ("decoder", "generator", "text_config")
# What is a caller's to ask for: our seed, and arrays that change no token.
_NOT_OF_CHECKPOINTS = frozenset({"seed", "output_attentions", "output_hidden_states"})
_FIELDS = CONFIG_NAMES - _NOT_OF_CHECKPOINTS


def checkpoint_settings(config: Mapping[str, Any], saved: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the settings by transformers' names, those that are None left out.

    `saved` is generation_config.json, which stands alone; None where there is none, so that `config` (config.json)
    speaks. Settings that are not fields of a generation config, such as Whisper's, are kept if they are `saved`.
    """
    found = settings_in(config) if saved is None else saved
    return {name: value for name, value in found.items() if value is not None and name not in _NOT_OF_CHECKPOINTS}


def settings_in(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return every field of a generation config in a config.json, those of its decoder where it leaves them open.

    Source: `GenerationConfig.from_model_config` of transformers 5.23.
    """
    nested = next((part for name in _DECODERS if isinstance(part := config.get(name), Mapping) and part), {})
    own = {name: config[name] for name in _FIELDS if config.get(name) is not None}
    if config.get("force_bos_token_to_be_generated"):  # of BART's first checkpoints
        own["forced_bos_token_id"] = own.get("bos_token_id")
    return {name: nested[name] for name in _FIELDS if nested.get(name) is not None} | own
