"""What a profile's answers are found to be: near PyTorch's, of the quality that it promises, those of its export.

It reads no file and decides nothing about exit codes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..graphs.signature import LOGITS
from ..loading import LoadedBundle
from ..numerics import Arrays
from .identity import condensed, identity_of, tolerated
from .parity import Case, answer, compare, summary
from .quality import QualityGate, quality_beside
from .references import References
from .replay import replayed

Models = Sequence[Callable[..., Arrays]]


def replay(loaded: LoadedBundle, references: References) -> dict[str, Any]:
    """Return the summary of what a loaded bundle answers to the references, in each way that it runs.

    A lossy profile is compared twice: with PyTorch, for quality, and with its own graph at the export, for identity.
    """
    models = replayed(loaded.bundle.topology, loaded.graphs())
    tolerance = loaded.profile.tolerance
    found = summary(figure for model in models for figure in compare(model, references.cases, tolerance))
    quality, identity = _quality(loaded, models, references), _identity(loaded, models, references)
    return with_verdicts(found, quality=quality, identity=identity)


def with_verdicts(
    found: dict[str, Any], *, quality: dict[str, Any] | None, identity: dict[str, Any] | None
) -> dict[str, Any]:
    """Return a summary with those of quality and identity, where there are any; what fails in one fails in all."""
    found = {**found, "quality": quality, "identity": identity}
    for name, say in (("quality", _poor), ("identity", _changed)):
        verdict = found[name]
        if verdict is not None and not verdict.get("passed", True):
            found |= {"passed": False, "failed": [say(verdict), *found["failed"]]}
    return found


def _poor(verdict: dict[str, Any]) -> str:
    return (
        f"quality: {verdict['agreement']:.1%} top-1 agreement (at least {verdict['least_agreement']:.0%}), "
        f"KL {verdict['kl_mean']:.2g} nats (at most {verdict['most_kl_mean']:g})"
    )


def _changed(verdict: dict[str, Any]) -> str:
    return (
        f"identity: outputs differ by {verdict['difference']:.1%} from those of the export "
        f"(at most {verdict['tolerance']:.1%}): the graph was changed, or computes otherwise on this machine"
    )


def _quality(loaded: LoadedBundle, models: Models, references: References) -> dict[str, Any] | None:
    weights = loaded.profile.weights
    if weights is None or not references.quality:
        return None
    gate, (case,) = QualityGate(weights.agreement, weights.divergence).elsewhere(), references.quality
    found = [quality_beside(case.expected, answer(model, case.inputs).get(LOGITS)) for model in models]
    worst = max(found, key=lambda quality: quality.kl_mean)
    return gate.summary(worst, len(case.expected["tokens"]))


def _loss(exact: Iterable[Case], stored: Iterable[Case]) -> float:
    """Return how far the export's own outputs are from PyTorch's."""
    known = {case.name: condensed(case.inputs, case.expected) for case in exact}
    return identity_of([(known[case.name], case.expected) for case in stored if case.name in known], 0.0).difference


def _identity(loaded: LoadedBundle, models: Models, references: References) -> dict[str, Any] | None:
    profile = loaded.profile
    if not profile.is_lossy:
        return None
    cases = references.identity.get(profile.name)
    if cases is None:
        emulated = loaded.bundle.builds[profile.name].emulated
        reason = "exported in an emulation" if emulated else "export again"
        return {"checked": False, "reason": reason}
    # Weights are rounded once, at the export; activations on every CPU.
    loss = _loss(references.cases, cases) if profile.weights is None else 0.0
    tolerance = tolerated(profile.tolerance.identity, loss)
    found = [
        identity_of([(case.expected, condensed(case.inputs, answer(model, case.inputs))) for case in cases], tolerance)
        for model in models
    ]
    return max(found, key=lambda identity: (not identity.passed, identity.difference)).summary()
