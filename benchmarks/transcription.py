"""Whisper tiny.en on synthetic speech: one window, greedy, and a recording of five minutes."""

from pathlib import Path

import numpy as np

from vitrify.bench.interleaved import Runner

from .agreement import same_words
from .artifacts import export_bundles
from .beside import Work, measure_works
from .checkpoints import whisper_ctranslate2, whisper_tiny
from .peers.environments import find_peer
from .speech import speech

PROFILES = ("cpu-fp32", "cpu-int8")
WINDOW, LONG = 28, 300


def measure(scratch: Path, *, rounds: int) -> dict:
    """Return seconds of each way, ratios of the same rounds, and how far the words agree."""
    bundles = export_bundles("whisper-tiny", whisper_tiny(), PROFILES)
    vitrify, pytorch, whisper = map(find_peer, ("vitrify", "pytorch", "faster-whisper"))
    ways = [
        *(Runner(name, vitrify, name, lambda name=name: str(bundles.folder(name))) for name in PROFILES),
        *(Runner(f"PyTorch {dtype}", pytorch, dtype, lambda: str(whisper_tiny())) for dtype in ("fp32", "bf16")),
        Runner("faster-whisper fp32", whisper, "float32", lambda: str(whisper_ctranslate2())),
        Runner("faster-whisper int8", whisper, "int8", lambda: str(whisper_ctranslate2())),
    ]
    names = [way.name for way in ways]
    works = []
    for seconds in (WINDOW, LONG):
        samples = scratch / f"speech-{seconds}.npy"
        np.save(samples, speech(seconds))
        arguments = {"samples": str(samples), "long": seconds > 30}
        few = {"rounds": min(rounds, 3), "limit": 180.0} if seconds > 30 else {}
        works.append(Work(f"{seconds} s of speech", "transcribe", arguments, names, judged=same_words, **few))
    return {"what": "Whisper tiny.en", **measure_works(works, ways, rounds=rounds), "refused": bundles.refused}
