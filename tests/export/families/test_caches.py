"""Caches: those of keys and values are copied; any other is refused by the name of what it keeps."""

from types import SimpleNamespace

import pytest
import torch
from transformers import cache_utils

from vitrify.export.families.caches import cache_of, full_cache
from vitrify.runtime.errors import UnsupportedError


class TinyForCausalLM:
    def __init__(self, **config):
        self.config = SimpleNamespace(**{"is_encoder_decoder": False, **config})


def cache(*layers):
    return SimpleNamespace(layers=list(layers))


def filled():
    layer = cache_utils.DynamicLayer()
    layer.update(torch.ones(2, 1, 3, 4), torch.ones(2, 1, 3, 4))
    return layer


def test_layers_that_nobody_wrote_to_are_left_out():
    made = full_cache(cache(filled(), cache_utils.DynamicLayer()), TinyForCausalLM())
    assert [tuple(layer.keys.shape) for layer in made.layers] == [(2, 1, 3, 4)]


@pytest.mark.parametrize(
    "name",
    ["LinearAttentionLayer", "LinearAttentionAndFullAttentionLayer", "LinearAttentionAndSlidingWindowAttentionLayer"],
)
def test_other_layers_are_named(name):
    found = getattr(cache_utils, name)
    layer = found.__new__(found)
    with pytest.raises(UnsupportedError, match=f"TinyForCausalLM keeps state in '{name}'"):
        full_cache(cache(filled(), layer), TinyForCausalLM())


def test_a_cache_without_layers_is_named():
    with pytest.raises(UnsupportedError, match="keeps state in 'tuple'"):
        full_cache((1, 2), TinyForCausalLM())


@pytest.mark.parametrize("made", [SimpleNamespace(), SimpleNamespace(past_key_values=None)])
def test_a_model_without_a_cache_says_what_is_missing(made):
    with pytest.raises(UnsupportedError, match="attends to later tokens, because its config"):
        cache_of(made, TinyForCausalLM(is_decoder=False))
    with pytest.raises(UnsupportedError, match="TinyForCausalLM returns no KV cache"):
        cache_of(made, TinyForCausalLM())
