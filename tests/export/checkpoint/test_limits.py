"""A number in a config that means "no limit" is none."""

from types import SimpleNamespace

import pytest

from vitrify.export.checkpoint.limits import limit_of, positions_of
from vitrify.runtime.bundle.onnx_heads import axes_of
from vitrify.runtime.graphs.heads import HEADS

NONE = [-1, 0, None, 1e30, float("inf"), float("nan"), 2**31 - 1, 10**400, "512"]


@pytest.mark.parametrize("value", NONE)
def test_what_is_no_limit(value):
    assert positions_of(SimpleNamespace(max_position_embeddings=value)) is None
    assert axes_of(HEADS["causal-lm"], {"max_position_embeddings": value})["total"].maximum is None


@pytest.mark.parametrize(("value", "limit"), [(1, 1), (512, 512), (512.0, 512), (10_485_760, 10_485_760)])
def test_what_is_a_limit(value, limit):
    assert positions_of(SimpleNamespace(max_position_embeddings=value)) == limit
    assert axes_of(HEADS["causal-lm"], {"max_position_embeddings": value})["total"].maximum == limit


def test_the_first_name_that_is_a_limit_counts():
    config = SimpleNamespace(max_target_positions=-1, max_position_embeddings=64)
    assert limit_of(config, "absent", "max_target_positions", "max_position_embeddings") == 64
    assert limit_of(config, "absent") is None
