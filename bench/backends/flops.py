"""What a bundle computes and reads, told by ONNX Runtime's profiler, in a process that nobody measures."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...profiles import load_profile
from ...runtime.bundle.reading import read_bundle
from ...runtime.selection.profiles import Choice
from ..op_times import read_traces, runs_of, traced_bundle
from . import read_variant
from .bundle import one_run


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a bundle's folder, whose `variant` is an own backend's."""
    profile, *_ = read_variant(variant)

    def count(**given: Any) -> Callable[[], list[list[float]]]:
        return lambda: _counted(model, profile, threads, given)

    return {"count": count}


def _counted(model: str, profile: str, threads: int, given: dict[str, Any]) -> list[list[float]]:
    """Return the floating-point operations and the bytes of weights of each run of a graph.

    ONNX Runtime runs the profile's graphs on its CPU provider, whichever else they are for: they compute the same.
    """
    bundle = read_bundle(model, profile)
    asked = bundle.builds[profile].profile
    if asked.provider != "cpu":
        asked = replace(load_profile("cpu-fp32"), name=profile)
    with tempfile.TemporaryDirectory() as folder:
        with traced_bundle(bundle, Path(folder), profile=Choice(asked), threads=threads) as loaded:
            one_run(loaded, **given)()
        return [[found.flops, found.bytes] for found in runs_of(read_traces(Path(folder)))]
