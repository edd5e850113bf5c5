"""The bundles that others run, each exported once, and what they are given."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.checkpoints import minilm, smollm2
from tests.checkpoints import make_checkpoint
from tests.images import picture
from tests.parity.compare import TEXTS
from vitrify import export_bundle

TINY = {
    "bert": "sequence-classification",
    "llama": "causal-lm",
    "mistral": "causal-lm",
    "vit": "image-classification",
}
REAL = {"minilm": minilm, "smollm2": smollm2}
PROMPT = "The quick brown fox"
STORY = "Once upon a time, in a small town by the sea,"
TOLERANCE = 1e-4
__all__ = ["PROMPT", "REAL", "STORY", "TEXTS", "TINY", "TOLERANCE", "Bundles", "picture"]


@dataclass(frozen=True)
class Bundles:
    """A folder of bundles, each exported when it is first asked for."""

    folder: Path

    def __call__(self, name: str) -> Path:
        bundle = self.folder / name
        if not bundle.exists():
            tiny = name in TINY
            checkpoint = make_checkpoint(name, TINY[name], self.folder / f"{name}-source") if tiny else REAL[name]()
            export_bundle(checkpoint, bundle)
        return bundle
