"""Which types and heads are tested, and for which GPUs, where more than one test asks."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints import GENERATIVE_PAIRS, TYPES

# Whether any token is a global one, and how many windows there are, are values that the tracer would have to know.
UNTRACEABLE = {"led"}
# One head of each type, a different one from type to type.
ONE_HEAD = tuple((name, row.heads[index % len(row.heads)]) for index, (name, row) in enumerate(TYPES.items()))
# What no other type in every run has: its positions, norms, windows, experts, relative biases, convolutions, caches or
# encoder. The other types run with `./dev check --all`.
EVERY_RUN = frozenset(
    [
        *("bert", "roberta", "albert", "deberta-v2", "modernbert", "nomic_bert", "bart"),
        *("gpt2", "bloom", "falcon", "llama", "phi3", "gemma3_text", "qwen3_moe"),
        *("vit", "beit", "swin", "convnext", "mobilenet_v2", "dinov2"),
        *("t5", "whisper", "moonshine", "wav2vec2", "donut"),
    ]
)
# Compute capabilities.
SMS = ("86", "89", "120")
UNBUILT = tomllib.loads(Path(__file__).with_name("unbuilt.toml").read_text())
ENGINE_PAIRS = [pair for pair in (*GENERATIVE_PAIRS, *ONE_HEAD) if pair[0] not in UNTRACEABLE]


def parametrized(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    """Return a test's parameters, slow where the type is not in every run, or the head is not its one."""
    return [pytest.param(*pair, marks=() if _is_quick(*pair) else pytest.mark.slow) for pair in pairs]


def _is_quick(model_type: str, head: str) -> bool:
    return model_type in EVERY_RUN and (
        model_type not in TYPES or head not in TYPES[model_type].heads or (model_type, head) in ONE_HEAD
    )
