"""`./dev demo`: real checkpoints are exported and verified; the bundles embed, chat and transcribe without PyTorch."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.checkpoints import minilm, smollm2, whisper_tiny
from benchmarks.measure import interleaved
from benchmarks.texts import TEXTS
from vitrify import pipeline
from vitrify.bench.percentiles import ratio, spread

VITRIFY = str(Path(sys.executable).with_name("vitrify"))
ROUNDS = 100
_NARROW = 1.5  # quartiles further apart, one over the other, make a ratio of noise


def main() -> None:
    print("Three checkpoints are exported and run, then one is timed: about 3 minutes on 2 cores.", flush=True)
    with tempfile.TemporaryDirectory(prefix="vitrify-demo-") as scratch:
        bundle = Path(scratch) / "minilm"
        _run("export", str(minilm()), "-o", str(bundle))
        _run("verify", str(bundle))
        _similarities(bundle)
        _chat(Path(scratch))
        _transcript(Path(scratch))
        _latency(bundle)


def _run(*words: str) -> None:
    print(f"\n$ vitrify {' '.join(words)}", flush=True)
    if code := subprocess.run([VITRIFY, *words], check=False).returncode:
        sys.exit(code)


def _similarities(bundle: Path) -> None:
    print("\nSentence similarities, from the runtime without PyTorch:")
    vectors = pipeline("text-embedding", bundle)(list(TEXTS))
    assert not {"torch", "transformers"} & set(sys.modules), "the runtime imported PyTorch"
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -1)
    for index, text in enumerate(TEXTS[::2]):
        closest = int(scores[2 * index].argmax())
        print(f"  {scores[2 * index, closest]:.2f}  {text}  ~  {TEXTS[closest]}")


def _chat(scratch: Path) -> None:
    bundle = scratch / "smollm2"
    _run("export", str(smollm2()), "-o", str(bundle))
    question = json.dumps([{"role": "user", "content": "What is the capital of France?"}])
    options = ("--param", "do_sample=false", "--param", "max_new_tokens=40", "--param", "return_full_text=false")
    _run("run", "text-generation", question, "-m", str(bundle), *options)


def _transcript(scratch: Path) -> None:
    import soundfile

    from benchmarks.speech import RATE, speech

    bundle, recording = scratch / "whisper", scratch / "speech.wav"
    soundfile.write(recording, speech(10), RATE)
    _run("export", str(whisper_tiny()), "-o", str(bundle))
    _run("run", "automatic-speech-recognition", str(recording), "-m", str(bundle), "--param", "num_beams=1")


def _latency(bundle: Path) -> None:
    print(f"\nLatency of one sentence, {ROUNDS} interleaved calls of each in this process (about 10 s):", flush=True)
    import transformers

    extract = pipeline("feature-extraction", bundle)
    transformers.logging.disable_progress_bar()
    reference = transformers.pipeline("feature-extraction", model=str(minilm()), device="cpu")
    text = TEXTS[0]
    difference = np.abs(np.array(extract(text)) - np.array(reference(text))).max()
    samples = interleaved({"vitrify": lambda: extract(text), "transformers": lambda: reference(text)}, rounds=ROUNDS)
    for name, seconds in samples.items():
        print(f"  {name:<14}{1000 * spread(seconds)['median']:6.1f} ms")
    print(f"  {speedup_line(ratio(samples['transformers'], samples['vitrify']))}")
    print(f"  the results differ by {difference:.1g}")


def speedup_line(found: Mapping[str, float]) -> str:
    """Return how many times as fast vitrify is, unless the quartiles say that the machine was too busy to tell."""
    quartiles = f"[{found['q1']:.1f}-{found['q3']:.1f}]"
    if found["q3"] > _NARROW * found["q1"]:
        return f"no ratio: its quartiles {quartiles} are too far apart, other programs are running"
    return f"vitrify is {found['median']:.1f} times as fast {quartiles}"


if __name__ == "__main__":
    main()
