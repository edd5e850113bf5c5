"""A bundle's profile through vitrify's own runtime: what a user calls, `model(...)` or `generate(...)`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...runtime.bundle.reading import read_bundle
from ...runtime.generation.decoders.prefixes import Prefixes
from ...runtime.loading import LoadedBundle
from ...runtime.selection.profiles import Choice
from ...runtime.verification.references import read_references
from ...runtime.verification.verdicts import replay
from . import read_variant
from .serving import serve

Run = Callable[[], Any]


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Run]]:
    """Return the works of a bundle's folder, whose graphs are opened."""
    name, entries, prepacked = read_variant(variant)
    manifest = read_bundle(model, name)
    choice = Choice(manifest.profile(name), threads=threads, entries=entries, prepacked=prepacked)
    bundle = LoadedBundle(manifest, profile=choice)
    bundle.open()
    return {
        "run": lambda **given: one_run(bundle, **given),
        "serve": lambda arrivals, **given: _served(one_run(bundle, **given), arrivals),
        "verify": lambda: lambda: _verified(bundle),
        "prepack": lambda: bundle.prepack,
    }


def one_run(loaded: LoadedBundle, *, inputs: str, new: int | None = None) -> Run:
    """Return the function that runs the model once on the arrays in a file, or writes `new` tokens after them."""
    feeds = dict(np.load(inputs))
    if new is None:
        model = loaded.model
        return lambda: _kept(model(**feeds))
    return lambda: _written(loaded, feeds, new)


def _kept(outputs: Mapping[str, np.ndarray]) -> None:
    """Return nothing: outputs would have to go through a pipe."""


def _written(loaded: LoadedBundle, feeds: dict[str, np.ndarray], new: int) -> int:
    """Write `new` tokens to each row, greedily, with nothing kept from the call before; return how many there are."""
    loaded.prefixes = Prefixes()
    before = feeds["input_ids"].shape[1] if loaded.bundle.topology.continues_prompts else 0
    made = loaded.generate(**feeds, max_new_tokens=new, min_new_tokens=new, do_sample=False, num_beams=1)
    return int(made[:, before:].size)


def _served(run: Run, arrivals: list[float]) -> Run:
    return lambda: serve(run, arrivals)


def _verified(loaded: LoadedBundle) -> dict[str, Any]:
    """Replay the bundle's parity cases; return whether they passed, and the drift."""
    found = replay(loaded, read_references(loaded.bundle))
    return {"passed": found["passed"], "drift": found["drift"]}
