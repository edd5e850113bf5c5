"""vitrify's own row: `pipeline()` on a bundle, with nothing kept from the run before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vitrify.runtime.factory import pipeline
from vitrify.runtime.generation.decoders.prefixes import Prefixes
from vitrify.runtime.loading import MAX_DRIFT

from .feeds import KEPT, feeds, kept


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a bundle by kind; `variant` is its profile, or "auto within" a drift: what was tuned."""
    profile, _, drift = variant.partition(" within ")
    limit = float(drift) if drift else MAX_DRIFT
    pipe = pipeline(None, model, profile=profile, max_drift=limit, threads=None if drift else threads)
    task = pipe.bundle.bundle.tasks[0]
    works = {
        "feature-extraction": {"embed": _embed},
        "text-embedding": {"embed": _embed, "embed-sentences": _embed_sentences},
        "text-generation": {
            "write": _write,
            "bare-steps": _bare_steps,
            "first-turn": _first_turn,
            "second-turn": _second_turn,
        },
        "automatic-speech-recognition": {"transcribe": _transcribe},
        "text2text-generation": {"translate": _translate},
    }
    kinds = {"forward": _forward, **works[task if task in works else "text2text-generation"]}
    return {kind: lambda make=make, **arguments: make(_forgetful(pipe), **arguments) for kind, make in kinds.items()}


def _forgetful(pipe: Any) -> Any:
    """Return the pipeline without the keys and values of former prompts: no peer may use those either."""
    pipe.bundle.prefixes = Prefixes()
    return pipe


def _forward(pipe: Any, **arguments: Any) -> Callable[[], list[float]]:
    """Run the model once, by hand."""
    model = pipe.bundle.model
    given = feeds(**arguments)
    rows = {name: given[name] for name in model.input_names}
    return lambda: kept(model(**rows)[0])


def _embed(pipe: Any, *, texts: str, max_length: int) -> Callable[[], list[list[float]]]:
    extract = pipeline("feature-extraction", pipe.bundle)
    rows = json.loads(Path(texts).read_text())
    options = {"return_tensors": True, "tokenize_kwargs": {"truncation": True, "max_length": max_length}}

    def run() -> list[list[float]]:
        vectors = [states[0].mean(0) for states in extract(iter(rows), batch_size=32, **options)]
        return np.stack(vectors[:KEPT]).tolist()

    return run


def _embed_sentences(pipe: Any, *, texts: str, max_length: int) -> Callable[[], list[list[float]]]:
    """Embed by the checkpoint's own pooling, in the graph; its longest text is `max_length`."""
    assert pipe.longest() == max_length
    rows = json.loads(Path(texts).read_text())

    def run() -> list[list[float]]:
        return pipe(rows, batch_size=32)[:KEPT].tolist()

    return run


def _write(pipe: Any, *, ids: list[list[int]], new: int, text: str | None = None) -> Callable[[], Any]:
    """Write `new` tokens to each prompt: to a text through the pipeline, to rows of ids by hand."""
    options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
    longest = max(map(len, ids))
    rows = np.array([[0] * (longest - len(row)) + row for row in ids])
    mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in ids])

    def run() -> list[list[int]]:
        if text is not None:
            return [pipe(text, return_tensors=True, **options)[0]["generated_token_ids"][longest:]]
        return pipe.bundle.generate(rows, attention_mask=mask, **options)[:, longest:].tolist()

    return run


def _bare_steps(pipe: Any, *, ids: list[list[int]], new: int, text: str | None = None) -> Callable[[], Any]:
    """Run the steps alone, with tokens that are known beforehand."""
    del text
    prompt, token = np.array(ids), np.array([[300]])

    def run() -> None:
        decoding = pipe.bundle.decoding()
        decoding.reserve(prompt.shape[1] + new)
        decoding.append(prompt)
        for _ in range(new - 1):
            decoding.append(token)

    return run


def _first_turn(pipe: Any, *, said: list[str]) -> Callable[[], Any]:
    """Answer the first turn of a chat with one token: what that takes is its prefill."""
    return lambda: _answered(pipe, [{"role": "user", "content": said[0]}], new=1)[-1]["content"]


def _second_turn(pipe: Any, *, said: list[str]) -> Callable[[], Any]:
    """Answer the second turn with one token, after the first was answered with more."""
    messages = _answered(pipe, [{"role": "user", "content": said[0]}], new=24)
    messages = [*messages, {"role": "user", "content": said[1]}]
    return lambda: _answered(pipe, messages, new=1)[-1]["content"]


def _answered(pipe: Any, messages: list[dict[str, str]], *, new: int) -> list[dict[str, str]]:
    return pipe(messages, max_new_tokens=new, do_sample=False)[0]["generated_text"]


def _transcribe(pipe: Any, *, samples: str, long: bool) -> Callable[[], Any]:
    audio = {"raw": np.load(samples), "sampling_rate": 16_000}
    options = {"return_timestamps": True} if long else {}
    return lambda: pipe(dict(audio), num_beams=1, **options)["text"]


def _translate(
    pipe: Any, *, texts: list[str], ids: list[list[int]], beams: int, new: int
) -> Callable[[], list[list[int]]]:
    del ids
    options = {"max_new_tokens": new, "min_new_tokens": new, "num_beams": beams, "do_sample": False}

    def run() -> list[list[int]]:
        found = pipe(texts, batch_size=len(texts), return_tensors=True, **options)
        return [next(iter(each.values()))[1:] for each in found]

    return run
