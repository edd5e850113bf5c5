"""Engines of models of true size, built without a GPU: what was fused, how large, in how long and how much memory."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vitrify import export_bundle
from vitrify.export.engine.build import Order, check_engines
from vitrify.runtime.child import Limits

from .checkpoints import bert_base, llama_400m, marian_base, smollm2, vit_base, whisper_tiny

PROFILE, SMS = "trt-fp16-latency", ("86", "89", "120")
LIMITS = Limits(seconds=600, memory_bytes=12 * 10**9)
MODELS: Mapping[str, Callable[[Path], Path]] = {
    "BERT-base": bert_base,
    "ViT-base": vit_base,
    "SmolLM2-135M": lambda _: smollm2(),
    "Llama of 430M": llama_400m,
    "Whisper tiny.en": lambda _: whisper_tiny(),
    "opus-mt's size": marian_base,
}


def measure(scratch: Path, *, rounds: int) -> dict[str, Any]:
    """Return a row for each model, graph and compute capability; of a build that takes minutes one round must do."""
    del rounds
    rows = []
    for name, make in MODELS.items():
        folder = scratch / name.replace(" ", "-")
        checkpoint = make(folder / "checkpoint")
        export_bundle(checkpoint, folder / "bundle", profiles=PROFILE, sms=None, allow_mismatch=True)
        reports = check_engines(folder / "bundle", [PROFILE], Order(SMS, limits=LIMITS), twice=False)
        rows += [{"model": name, "why": report.why, **report.document} for report in reports]
        shutil.rmtree(folder)
    return {"rows": rows}
