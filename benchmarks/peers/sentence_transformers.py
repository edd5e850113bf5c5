"""sentence-transformers: the mean of a text's token states, by `encode` in batches of 32.

`variant` is the precision of PyTorch ("fp32", "bf16"), of a checkpoint, or the backend ("onnx", "openvino"), of the
folder that optimum exported for it.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .feeds import KEPT


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a text encoder by kind."""
    library: Any = import_module("sentence_transformers")
    parts: Any = import_module("sentence_transformers.models")
    torch: Any = import_module("torch")
    torch.set_num_threads(threads)
    backend = variant if variant in {"onnx", "openvino"} else "torch"
    states = parts.Transformer(model, model_args=_arguments(variant, threads), backend=backend)
    pooling = parts.Pooling(states.get_word_embedding_dimension(), pooling_mode="mean")
    encoder = library.SentenceTransformer(modules=[states, pooling], device="cpu")

    def embed(*, texts: str, max_length: int) -> Callable[[], list[list[float]]]:
        encoder.max_seq_length = max_length
        rows = json.loads(Path(texts).read_text())

        def run() -> list[list[float]]:
            vectors = encoder.encode(rows, batch_size=32, show_progress_bar=False)
            return vectors[:KEPT].tolist()

        return run

    return {"embed": embed}


def _arguments(variant: str, threads: int) -> dict[str, Any]:
    match variant:
        case "onnx":
            options = import_module("onnxruntime").SessionOptions()
            options.intra_op_num_threads = threads
            return {"provider": "CPUExecutionProvider", "session_options": options}
        case "openvino":
            hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
            return {"ov_config": hints}
        case _:
            return {"dtype": {"fp32": "float32", "bf16": "bfloat16"}[variant]}
