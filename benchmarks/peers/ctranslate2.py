"""CTranslate2 on what its own converter made of a Marian checkpoint; `variant` is its compute type."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any


def load(model: str, variant: str, threads: int) -> dict[str, Callable[..., Callable[[], Any]]]:
    """Return the works of a converted checkpoint by kind."""
    translator: Any = import_module("ctranslate2").Translator(
        model, device="cpu", compute_type=variant, inter_threads=1, intra_threads=threads
    )
    words: list[str] = json.loads((Path(model) / "shared_vocabulary.json").read_text())
    numbers = {word: number for number, word in enumerate(words)}

    def translate(*, texts: list[str], ids: list[list[int]], beams: int, new: int) -> Callable[[], list[list[int]]]:
        del texts
        rows = [[words[token] for token in row] for row in ids]
        options = {"beam_size": beams, "min_decoding_length": new, "max_decoding_length": new}
        return lambda: [
            [numbers[word] for word in found.hypotheses[0]] for found in translator.translate_batch(rows, **options)
        ]

    return {"translate": translate}
