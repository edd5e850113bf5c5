"""An opus-mt of true size with seeded weights, four beams, a fixed number of new tokens."""

from pathlib import Path
from typing import Any

from vitrify import load_bundle
from vitrify.bench.interleaved import Runner

from .agreement import same_tokens
from .artifacts import export_bundles, make_for_peer
from .beside import Work, measure_works
from .checkpoints import marian_base
from .peers.environments import find_peer
from .texts import TEXTS

PROFILES = ("cpu-fp32", "cpu-int8")
BEAMS, NEW, BATCH = 4, 64, 8


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return tokens per second of each way, and ratios of the same rounds."""
    checkpoint = marian_base(scratch / "marian-base")
    bundles = export_bundles("marian-base", checkpoint, PROFILES)
    vitrify, pytorch, ctranslate2 = map(find_peer, ("vitrify", "pytorch", "ctranslate2"))

    def converted() -> str:
        return str(make_for_peer(ctranslate2, "converted", checkpoint))

    ways = [
        *(Runner(name, vitrify, name, lambda name=name: str(bundles.folder(name))) for name in PROFILES),
        Runner("PyTorch fp32", pytorch, "fp32", lambda: str(checkpoint)),
        Runner("CTranslate2 fp32", ctranslate2, "float32", converted),
        Runner("CTranslate2 int8", ctranslate2, "int8", converted),
    ]
    tokenizer: Any = load_bundle(bundles.folder("cpu-fp32")).tokenizer
    works = []
    for batch in (1, BATCH):
        texts = list(TEXTS[:batch])
        ids = [tokenizer(text)["input_ids"][0].tolist() for text in texts]
        works.append(
            Work(
                f"{BEAMS} beams, batch {batch}, {NEW} new tokens",
                "translate",
                {"texts": texts, "ids": ids, "beams": BEAMS, "new": NEW},
                [way.name for way in ways],
                tokens=batch * NEW,
                judged=same_tokens(batch, NEW),
            )
        )
    return {"what": "opus-mt's size", **measure_works(works, ways, rounds=rounds), "refused": bundles.refused}
