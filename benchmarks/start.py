"""How fast it starts: imports, help, and a new process to the first MiniLM result, beside transformers and bare ORT."""

import sys
from pathlib import Path

from vitrify import export_bundle
from vitrify.bench.percentiles import spread

from .checkpoints import minilm
from .measure import processes

TEXT = "a sentence"
BARE = """
import sys, numpy, onnxruntime, tokenizers
folder, text = sys.argv[1:]
session = onnxruntime.InferenceSession(folder + "/onnx/model.onnx")
tokens = tokenizers.Tokenizer.from_file(folder + "/tokenizer.json").encode(text)
row = lambda values: numpy.array([values], numpy.int64)
feeds = dict(input_ids=tokens.ids, attention_mask=tokens.attention_mask, token_type_ids=tokens.type_ids)
session.run(None, {name: row(values) for name, values in feeds.items()})
"""
VITRIFY = "import sys; from vitrify import pipeline; pipeline('feature-extraction', sys.argv[1])(sys.argv[2])"
TRANSFORMERS = "import sys; from transformers import pipeline; pipeline('feature-extraction', sys.argv[1])(sys.argv[2])"


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return medians and quartiles of seconds and MB for each row."""
    bundle = scratch / "minilm"
    export_bundle(minilm(), bundle)
    python = sys.executable
    starts = {
        "python -c pass": [python, "-c", "pass"],
        "import vitrify": [python, "-c", "import vitrify"],
        "vitrify --help": [str(Path(python).with_name("vitrify")), "--help"],
        "import transformers": [python, "-c", "import transformers"],
    }
    first = {
        "vitrify": [python, "-c", VITRIFY, str(bundle), TEXT],
        "bare onnxruntime": [python, "-c", BARE, str(bundle), TEXT],
        "transformers.pipeline": [python, "-c", TRANSFORMERS, str(minilm()), TEXT],
    }
    found = {"start": processes(starts, rounds=rounds), "first result": processes(first, rounds=rounds)}
    return {
        group: {name: {unit: spread(values) for unit, values in units.items()} for name, units in rows.items()}
        for group, rows in found.items()
    }
