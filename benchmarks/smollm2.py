"""The ways to run SmolLM2-135M: vitrify's profiles and the bare steps of its own graph, and its peers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vitrify.bench.interleaved import Runner

from .artifacts import Bundles, export_bundles, make_for_peer
from .checkpoints import smollm2, smollm2_gguf
from .peers.environments import find_peer

PROFILES = ("cpu-fp32", "cpu-w8", "cpu-w4")
# What reads many tokens at once gains from int8 activations; what writes one at a time does not.
WRITING = ("cpu-fp32", "cpu-w8", "cpu-w4")
PYTORCH = ("PyTorch fp32", "PyTorch bf16")
GENAI = ("onnxruntime-genai fp32", "onnxruntime-genai int4")
LLAMA = "llama.cpp Q4_1"


@dataclass(frozen=True)
class Contest:
    """The bundles, and every way to run the model."""

    bundles: Bundles
    ways: Sequence[Runner]


def contest() -> Contest:
    """Export what is not yet exported, and return the ways; what is missing is told when a way starts."""
    checkpoint = smollm2()
    bundles = export_bundles("smollm2", checkpoint, PROFILES)
    vitrify, pytorch, genai, llama = map(find_peer, ("vitrify", "pytorch", "onnxruntime-genai", "llama-cpp"))

    def bundle(profile: str) -> Callable[[], str]:
        return lambda: str(bundles.folder(profile))

    def built(kind: str) -> Callable[[], str]:
        return lambda: str(make_for_peer(genai, kind, checkpoint))

    ways = [Runner(profile, vitrify, profile, bundle(profile)) for profile in PROFILES]
    ways += [
        Runner(f"{name} {profile}", vitrify, profile, bundle(profile), kind=kind)
        for profile in WRITING
        for name, kind in (("bare steps", "bare-steps"), ("first turn", "first-turn"))
    ]
    ways += [Runner(name, pytorch, name.split()[1], lambda: str(checkpoint)) for name in PYTORCH]
    ways += [Runner(name, genai, name.split()[1], built(name.split()[1])) for name in GENAI]
    ways += [Runner(LLAMA, llama, "Q4_1", lambda: str(smollm2_gguf()))]
    return Contest(bundles, ways)
