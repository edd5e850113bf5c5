"""transformers' own exporter and its runner on ONNX Runtime, in the project's environment.

As a command it exports: `python -m benchmarks.peers.exporter CHECKPOINT FOLDER`.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
import transformers

from vitrify.runtime.sessions.telemetry import onnxruntime_module

from .feeds import feeds, kept


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of an exported encoder by kind; `variant` is what the export already is."""
    del variant
    from transformers.exporters import ExportedModel

    torch.set_num_threads(threads)
    options = onnxruntime_module().SessionOptions()
    options.intra_op_num_threads = threads
    loaded: Any = ExportedModel.from_pretrained(model, device="cpu", session_options=options)

    def forward(**arguments: Any) -> Callable[[], list[float]]:
        given = {name: torch.from_numpy(value) for name, value in feeds(**arguments).items()}
        return lambda: kept(loaded(**given)[0])

    return {"forward": forward}


def export(checkpoint: str, folder: str) -> None:
    """Export an encoder with every size open, fused for ONNX Runtime's CPU provider."""
    from transformers.exporters import OnnxConfig, OnnxExporter

    (architecture,) = transformers.AutoConfig.from_pretrained(checkpoint).architectures or ("",)
    model = getattr(transformers, architecture).from_pretrained(checkpoint, dtype=torch.float32).eval()
    example = feeds(images=2) if model.main_input_name == "pixel_values" else feeds(ids=[[101] * 16] * 2)
    given: dict[str, Any] = {name: torch.from_numpy(value) for name, value in example.items()}
    OnnxExporter().export(model, given, OnnxConfig(dynamic=True, ort_fusions="cpu")).save_pretrained(folder)


if __name__ == "__main__":
    export(*sys.argv[1:])
