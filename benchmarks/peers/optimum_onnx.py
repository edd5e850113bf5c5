"""optimum-onnx: its class for the checkpoint's head, on the folder that its own command exported."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .feeds import feeds, kept


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of an exported encoder by kind; `variant` is what the export already is."""
    del variant
    torch: Any = import_module("torch")
    options = import_module("onnxruntime").SessionOptions()
    options.intra_op_num_threads = threads
    architecture = getattr(import_module("optimum.onnxruntime"), _architecture(Path(model)))
    loaded = architecture.from_pretrained(model, provider="CPUExecutionProvider", session_options=options)

    def forward(**arguments: Any) -> Callable[[], list[float]]:
        given = {name: torch.from_numpy(value) for name, value in feeds(**arguments).items()}
        return lambda: kept(loaded(**given)[0])

    return {"forward": forward}


def _architecture(folder: Path) -> str:
    (saved,) = json.loads((folder / "config.json").read_text())["architectures"]
    _, head, name = saved.partition("For")
    return f"ORTModelFor{name}" if head else "ORTModelForFeatureExtraction"
