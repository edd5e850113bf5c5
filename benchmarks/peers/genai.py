"""onnxruntime-genai, on a graph that its own model builder made."""

import json
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a graph by kind; of what `variant` it is the builder has decided."""
    del variant
    genai: Any = import_module("onnxruntime_genai")
    config = genai.Config(model)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": threads}}}}))
    loaded = genai.Model(config)
    return {"write": lambda **arguments: _write(genai, loaded, **arguments)}


def _write(
    genai: Any, model: Any, *, ids: list[list[int]], new: int, text: str | None = None
) -> Callable[[], list[list[int]]]:
    """Write to rows that are padded after, where its answers are right; it tells padding by the pad token."""
    del text
    longest = max(map(len, ids))
    pad = genai.Tokenizer(model).pad_token_id
    rows = np.array([row + [pad] * (longest - len(row)) for row in ids], np.int32)
    options = {"batch_size": len(ids), "max_length": longest + new, "min_length": longest + new, "do_sample": False}

    def run() -> list[list[int]]:
        parameters = genai.GeneratorParams(model)
        parameters.set_search_options(**options)
        generator = genai.Generator(model, parameters)
        generator.append_tokens(rows if len(ids) > 1 else rows[0])
        while not generator.is_done():
            generator.generate_next_token()
        return [[int(token) for token in generator.get_sequence(row)[longest:]] for row in range(len(ids))]

    return run
