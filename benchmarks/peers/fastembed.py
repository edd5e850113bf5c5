"""fastembed on a folder with a graph and its tokenizer, made known to it as a custom model: ONNX Runtime, the mean of
a text's token states, batches of 256 in the order given, as is its default.
"""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .feeds import KEPT

NAME = "local/encoder"


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a text encoder by kind; `variant` is what its graph already is."""
    del variant
    library: Any = import_module("fastembed")
    described: Any = import_module("fastembed.common.model_description")
    folder = Path(model)
    library.TextEmbedding.add_custom_model(
        model=NAME,
        pooling=described.PoolingType.MEAN,
        normalization=False,
        sources=described.ModelSource(hf=NAME),
        dim=json.loads((folder / "config.json").read_text())["hidden_size"],
        model_file=str(next(folder.rglob("model.onnx")).relative_to(folder)),
    )
    encoder = library.TextEmbedding(
        NAME, specific_model_path=model, threads=threads, providers=["CPUExecutionProvider"]
    )

    def embed(*, texts: str, max_length: int) -> Callable[[], list[list[float]]]:
        encoder.model.tokenizer.enable_truncation(max_length)
        rows = json.loads(Path(texts).read_text())
        return lambda: [vector.tolist() for vector in list(encoder.embed(rows, batch_size=256))[:KEPT]]

    return {"embed": embed}
