"""`verify`: are a bundle's files intact and its outputs right? It replays `parity/` on every profile, without torch.

An engine that passes on a GPU counts as verified from then on: its sidecar says by which.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle.manifest import Bundle
from ..bundle.reading import read_bundle
from ..errors import EnvironmentMissing, ParityError, UsageError
from ..loading import LoadedBundle
from .references import read_references
from .verdicts import replay

_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class Verification:
    """What verify found: `profiles` maps each to its summary; `skipped` maps those this machine cannot run to why."""

    bundle: str
    files: int
    profiles: dict[str, dict[str, Any]]
    skipped: dict[str, str]

    @property
    def passed(self) -> bool:
        """Whether at least one profile was replayed and none failed."""
        return bool(self.profiles) and all(item["passed"] for item in self.profiles.values())


def verify_bundle(folder: str | Path) -> Verification:
    """Check the sha256 of every file and replay the bundle's parity cases on each of its profiles.

    Raises
    ------
    UsageError
        There is nothing to verify: no bundle, or an ONNX folder of another tool.
    IntegrityError
        A file is missing, changed, a link, or not what it should be.
    EnvironmentMissing
        No profile of the bundle runs on this machine.

    """
    bundle = read_bundle(folder)
    if not bundle.is_verified:
        raise UsageError(
            f"'{folder}' is an ONNX folder: it has no digests and no outputs of PyTorch to verify it against. "
            "Compile its checkpoint to have both: vitrify export MODEL -o DIR"
        )
    for name in bundle.files:
        bundle.check(name, always=True)
    references = read_references(bundle)
    found: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for name in bundle.builds:
        try:
            found[name] = replay(LoadedBundle(bundle, profile=name), references)
        except EnvironmentMissing as error:
            skipped[name] = str(error)
    if not found:
        raise EnvironmentMissing(
            f"no profile of bundle '{bundle.folder.name}' is available here: {'; '.join(skipped.values())}"
        )
    _record(bundle, [name for name, item in found.items() if item["passed"]])
    return Verification(bundle.folder.name, len(bundle.files), found, skipped)


def _record(bundle: Bundle, passed: Iterable[str]) -> None:
    """Write into the bundle which of its engines passed; it need not be writable."""
    profiles = [name for name in passed if bundle.builds[name].profile.provider == "tensorrt"]
    if profiles:
        from ..selection.engines import record_verified

        try:
            record_verified(bundle, profiles)
        except OSError as error:
            _LOG.warning(
                "bundle '%s' cannot be written, so its sidecars do not record what passed: %s", bundle.folder, error
            )


def require_passed(verification: Verification) -> None:
    """Raise ParityError naming what failed, unless everything passed."""
    for name, item in verification.profiles.items():
        if not item["passed"]:
            raise ParityError(f"bundle '{verification.bundle}', profile {name}: FAIL: {'; '.join(item['failed'][:3])}")
