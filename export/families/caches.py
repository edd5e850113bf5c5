"""The cache that a model made of a prompt, as one whose layers keep every token; it knows no family.

Only caches of keys and values are supported: any other is refused by the name of what it keeps.
"""

from typing import Any

from ...runtime.errors import UnsupportedError


def cache_of(made: Any, model: Any) -> Any:
    """Return the cache among a model's outputs; raise UnsupportedError where there is none."""
    cache = getattr(made, "past_key_values", None)
    if cache is not None:
        return cache
    name = type(model).__name__
    if getattr(model.config, "is_decoder", True) is False and not model.config.is_encoder_decoder:
        raise UnsupportedError(
            f'{name} attends to later tokens, because its config.json has "is_decoder": false. '
            "If it was trained to generate, set it to true; else export it for fill-mask or feature-extraction"
        )
    raise UnsupportedError(f"{name} returns no KV cache (past_key_values): it cannot be exported to generate")


def full_cache(cache: Any, model: Any) -> Any:
    """Return the cache with layers that keep every token: a graph's mask forgets, its cache does not."""
    from transformers import DynamicCache

    full = DynamicCache()
    for index, layer in enumerate(filled_layers(cache, model)):
        full.update(layer.keys.clone(), layer.values.clone(), index)
    return full


def filled_layers(cache: Any, model: Any) -> list[Any]:
    """Return the layers that the model wrote to: some configs count more layers than their decoder has."""
    from transformers.cache_utils import LinearAttentionCacheLayerMixin

    layers = getattr(cache, "layers", None)
    if layers is None:
        raise _other(type(cache).__name__, model)
    for layer in layers:
        if not hasattr(layer, "keys") or isinstance(layer, LinearAttentionCacheLayerMixin):
            raise _other(type(layer).__name__, model)
    return [layer for layer in layers if layer.keys is not None]


def _other(name: str, model: Any) -> UnsupportedError:
    return UnsupportedError(
        f"{type(model).__name__} keeps state in '{name}': only KV caches of attention (keys and values) are supported"
    )
