"""SmolLM2-135M, eight prompts at a time: of one length, and ragged."""

from pathlib import Path

import numpy as np

from .agreement import same_tokens
from .beside import Work, measure_works
from .smollm2 import GENAI, PYTORCH, WRITING, contest

BATCH, PROMPT, NEW, SHORT = 8, 64, 64, 8


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return tokens per second of each way, and ratios of the same rounds."""
    del scratch
    draw = np.random.default_rng(0)
    rows = draw.integers(1000, 40000, (BATCH, PROMPT)).tolist()
    ragged = [row[: SHORT + index * (PROMPT - SHORT) // (BATCH - 1)] for index, row in enumerate(rows)]
    prompts = {f"prompts of {PROMPT}": rows, f"ragged prompts of {SHORT} to {PROMPT}": ragged}
    works = [
        Work(
            f"decode, batch {BATCH}, {name}, {NEW} new tokens",
            "write",
            {"ids": ids, "new": NEW},
            [*WRITING, *PYTORCH, *GENAI],
            tokens=BATCH * NEW,
            judged=same_tokens(BATCH, NEW),
        )
        for name, ids in prompts.items()
    ]
    return {"what": "SmolLM2-135M", **measure_works(works, contest().ways, rounds=rounds)}
