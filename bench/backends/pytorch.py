"""The checkpoint in transformers on PyTorch, as its documentation shows it; `variant` is the dtype, or `… compiled`."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import transformers

from .serving import serve


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a checkpoint; `model` is JSON with its folder and its class."""
    torch.set_num_threads(threads)
    described = json.loads(model)
    dtype, _, compiled = variant.partition(" ")
    cls = getattr(transformers, described["architecture"])
    loaded = cls.from_pretrained(described["checkpoint"], dtype=getattr(torch, dtype)).eval()
    forward = torch.compile(loaded) if compiled else loaded

    def one_run(*, inputs: str, new: int | None = None) -> Callable[[], Any]:
        feeds = _tensors(inputs, loaded.dtype)
        return lambda: _forward(forward, feeds) if new is None else _written(loaded, feeds, new)

    def served(*, arrivals: list[float], **given: Any) -> Callable[[], Any]:
        run = one_run(**given)
        return lambda: serve(run, arrivals)

    return {"run": one_run, "serve": served}


def _tensors(path: str, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    tensors = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}


def _forward(model: Any, feeds: dict[str, torch.Tensor]) -> None:
    with torch.inference_mode():
        model(**feeds)


def _written(model: Any, feeds: dict[str, torch.Tensor], new: int) -> int:
    made = model.generate(**feeds, max_new_tokens=new, min_new_tokens=new, do_sample=False, num_beams=1)
    before = 0 if model.config.is_encoder_decoder else feeds["input_ids"].shape[1]
    return int(made[:, before:].numel())
