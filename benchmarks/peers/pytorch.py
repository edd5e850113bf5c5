"""transformers on PyTorch, in the project's own environment.

`variant` is the precision, or "compile": torch.compile in float32, once for each shape.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from .feeds import KEPT, feeds, kept


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a checkpoint by kind."""
    torch.set_num_threads(threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "compile": torch.float32}[variant]
    (architecture,) = transformers.AutoConfig.from_pretrained(model).architectures or ("",)
    if architecture.startswith("Whisper"):
        pipe = transformers.pipeline("automatic-speech-recognition", model, dtype=dtype)
        return {"transcribe": lambda **arguments: _transcribe(pipe, **arguments)}
    loaded = getattr(transformers, architecture).from_pretrained(model, dtype=dtype).eval()
    passing = torch.compile(loaded, dynamic=False) if variant == "compile" else loaded
    return {
        "forward": lambda **arguments: _forward(passing, dtype, **arguments),
        "embed": lambda **arguments: _embed(loaded, model, batch_size=1, **arguments),
        "embed-batches": lambda **arguments: _embed(loaded, model, batch_size=32, **arguments),
        "write": lambda **arguments: _write(loaded, **arguments),
        "translate": lambda **arguments: _translate(loaded, **arguments),
    }


def _forward(model: Any, dtype: torch.dtype, **arguments: Any) -> Callable[[], list[float]]:
    given = {name: torch.from_numpy(value) for name, value in feeds(**arguments).items()}
    rows = {name: value.to(dtype) if value.is_floating_point() else value for name, value in given.items()}

    @torch.inference_mode()
    def run() -> list[float]:
        return kept(model(**rows)[0].float())

    return run


def _embed(model: Any, folder: str, *, batch_size: int, texts: str, max_length: int) -> Callable[[], list[list[float]]]:
    pipe: Any = transformers.pipeline("feature-extraction", model=model, tokenizer=folder, return_tensors=True)
    options = {"truncation": True, "max_length": max_length}
    rows = json.loads(Path(texts).read_text())
    # A batch's states come with those of its padding.
    lengths = [len(ids) for ids in pipe.tokenizer(rows, **options)["input_ids"]]

    def run() -> list[list[float]]:
        found = pipe(rows, batch_size=batch_size, tokenize_kwargs=options)
        vectors = [states[0, :length].mean(0) for states, length in zip(found, lengths, strict=True)]
        return torch.stack(vectors[:KEPT]).tolist()

    return run


def _padded(rows: list[list[int]], *, fill: int, left: bool) -> dict[str, torch.Tensor]:
    longest = max(map(len, rows))
    gaps = [[fill] * (longest - len(row)) for row in rows]
    masks = [[0] * len(gap) for gap in gaps]
    ids = [[*gap, *row] if left else [*row, *gap] for gap, row in zip(gaps, rows, strict=True)]
    mask = [[*off, *[1] * len(row)] if left else [*[1] * len(row), *off] for off, row in zip(masks, rows, strict=True)]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


def _write(model: Any, *, ids: list[list[int]], new: int, text: str | None = None) -> Callable[[], list[list[int]]]:
    del text
    feeds = _padded(ids, fill=0, left=True)
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    return lambda: _rows(model.generate(**feeds, **options), after=feeds["input_ids"].shape[1])


def _translate(
    model: Any, *, texts: list[str], ids: list[list[int]], beams: int, new: int
) -> Callable[[], list[list[int]]]:
    del texts
    feeds = _padded(ids, fill=model.config.pad_token_id, left=False)
    options = {"max_new_tokens": new, "min_new_tokens": new, "num_beams": beams, "do_sample": False}
    return lambda: _rows(model.generate(**feeds, **options), after=1)


def _rows(sequences: torch.Tensor, *, after: int) -> list[list[int]]:
    """Return the tokens of each row that follow what it began with."""
    return sequences[:, after:].tolist()


def _transcribe(pipe: Any, *, samples: str, long: bool) -> Callable[[], str]:
    audio = {"raw": np.load(samples), "sampling_rate": 16_000}
    options = {"return_timestamps": True} if long else {}
    greedy = {"num_beams": 1}  # the pipeline's own default is five
    return lambda: pipe(dict(audio), generate_kwargs=greedy, **options)["text"]
