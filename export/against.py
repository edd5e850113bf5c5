"""`verify --against`: recompute the whole parity grid of a finished bundle against its checkpoint, with PyTorch."""

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..runtime.bundle.manifest import Bundle
from ..runtime.errors import EnvironmentMissing
from ..runtime.loading import LoadedBundle
from ..runtime.sources.request import Request
from ..runtime.verification.parity import Figure, summary
from ..runtime.verification.replay import replayed
from ..runtime.verification.verdicts import with_verdicts
from ..runtime.verification.verify import Verification
from .checkpoint.fetched import fetch
from .checkpoint.opened import open_checkpoint
from .checkpoint.sentences import HEAD, Wish
from .families import export_family
from .verification.gate import Subject, examine
from .verification.untrained import with_trained_outputs

# Axes that a plan may leave out, because a graph cannot have them dynamic.
_FIXABLE = {"batch", "height"}


def verify_against(verification: Verification, folder: Path, request: Request) -> Verification:
    """Return the verification with each profile's figures recomputed against the checkpoint that `request` names.

    Raises
    ------
    UsageError, UnsupportedError, IntegrityError, EnvironmentMissing
        The checkpoint cannot be had or loaded, or lacks the bundle's head.

    """
    bundle = Bundle.read(folder)
    with tempfile.TemporaryDirectory(prefix="vitrify-") as scratch:
        found = fetch(request, Path(scratch))
        opened = open_checkpoint(
            found.folder,
            head=bundle.head,
            trust_remote_code=request.trust_remote_code,
            sentences=Wish(recorded=folder if bundle.head == HEAD else None),
        )
        family = export_family(opened.head.family)
        checkpoint = with_trained_outputs(opened, family)
        oracle = family.oracle(checkpoint)
        plan = next(
            plan for plan in family.plans(checkpoint, oracle) if _FIXABLE & {*plan.axes} == _FIXABLE & {*bundle.axes}
        )
        findings = examine(plan, oracle, _subjects(bundle), budget=0)
    profiles = {name: _renewed(verification, name, figures) for name, figures in findings.figures.items()}
    return replace(verification, profiles=profiles)


def _renewed(verification: Verification, name: str, figures: Iterable[Figure]) -> dict[str, Any]:
    """Return a profile's summary with new figures; its quality and identity are what the bundle's own outputs said."""
    former = verification.profiles[name]
    return with_verdicts(summary(figures), quality=former["quality"], identity=former["identity"])


def _subjects(bundle: Bundle) -> dict[str, Subject]:
    subjects = {}
    for name, build in bundle.builds.items():
        try:
            subjects[name] = Subject(
                replayed(bundle.topology, LoadedBundle(bundle, profile=name).graphs()), build.profile.tolerance
            )
        except EnvironmentMissing:
            continue  # verify_bundle has said so
    return subjects
