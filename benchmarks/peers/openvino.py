"""OpenVINO on what optimum-intel exported; `variant` is the precision that it is told to compute in."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .feeds import feeds, kept

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of an exported encoder by kind."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": _PRECISIONS[variant],
    }
    compiled = import_module("openvino").Core().compile_model(Path(model) / "openvino_model.xml", "CPU", settings)
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if precision != _PRECISIONS[variant]:
        raise RuntimeError(f"computes in {precision} on this CPU where {_PRECISIONS[variant]} was asked for")
    names = [tensor.get_any_name() for tensor in compiled.inputs]

    def forward(**arguments: Any) -> Callable[[], list[float]]:
        given = feeds(**arguments)
        rows = {name: given[name] for name in names}
        return lambda: kept(compiled(rows, share_inputs=True, share_outputs=True)[0])

    return {"forward": forward}
