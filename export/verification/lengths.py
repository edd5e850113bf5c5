"""Lengths at which a language model starts to do something else: what a comparison has to cross.

A config says them; whether a cache follows is asked of the model itself.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

# Windows, blocks, chunks, buckets of distances, what a rotation was first trained on.
_LENGTH = re.compile(r"window|chunk|block|bucket|distance|original_max|local")
# The rotation that is another one for all tokens of a row beyond a length. "dynamic" is so beyond the model's limit.
_SWITCHING = "longrope"
_ORIGINAL = "original_max_position_embeddings"


def lengths_in(config: Any, below: int) -> list[int]:
    """Return the lengths that a config names, ascending, of those with a token more `below` a limit."""
    named = {value for name, value in _entries(config.to_dict()) if type(value) is int and _LENGTH.search(name)}
    return sorted(value for value in named if 1 < value < below)


def _entries(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _entries({str(key): item for key, item in value.items()})
        else:
            yield name, value


def rotation_switch(config: Any) -> int | None:
    """Return the most tokens of a row before its rotation is another one; None where it always is the same."""
    rope = getattr(config, "rope_parameters", None) or {}
    found = [
        own.get(_ORIGINAL) or getattr(config, _ORIGINAL, None)
        for own in (rope, *rope.values())
        if isinstance(own, Mapping) and own.get("rope_type") == _SWITCHING
    ]
    return min((value for value in found if value), default=None)


def drops_its_cache(model: Any, switch: int) -> bool:
    """Tell whether `generate` of transformers computes the model's cache anew behind so many tokens."""
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, switch, 1), torch.zeros(1, 1, switch, 1), 0)
    ids = torch.ones(1, switch + 1, dtype=torch.int64)
    try:
        made = model.prepare_inputs_for_generation(
            ids, past_key_values=cache, attention_mask=torch.ones_like(ids), use_cache=True, next_sequence_length=1
        )
    except Exception:  # noqa: BLE001 - the model's own code, which may want more than this
        return False
    return made.get("past_key_values") is not cache
