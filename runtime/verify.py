"""`verify`: is a bundle whole, and still the same model? It replays `parity/` on every profile and needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .bundle import PARITY, Bundle
from .errors import EnvironmentMissing, ParityError
from .loading import LoadedBundle
from .parity import CASES_FILE, compare, read_cases, summary


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
    IntegrityError
        A file is missing, changed, a link, or not what it should be.
    EnvironmentMissing
        No profile of the bundle runs on this machine.

    """
    bundle = Bundle.read(folder)
    for name in bundle.files:
        bundle.check(name, always=True)
    cases = read_cases(bundle.check(f"{PARITY}/{CASES_FILE}"))
    found: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    for name in bundle.builds:
        try:
            models = LoadedBundle(bundle, profile=name).replayed()
        except EnvironmentMissing as error:
            skipped[name] = str(error)
            continue
        tolerance = bundle.builds[name].profile.tolerance
        found[name] = summary(figure for model in models for figure in compare(model, cases, tolerance))
    if not found:
        raise EnvironmentMissing(
            f"no profile of bundle '{bundle.folder.name}' runs here: {'; '.join(skipped.values())}"
        )
    return Verification(bundle.folder.name, len(bundle.files), found, skipped)


def require_passed(verification: Verification) -> None:
    """Raise ParityError naming what failed, unless everything passed."""
    for name, item in verification.profiles.items():
        if not item["passed"]:
            raise ParityError(
                f"bundle '{verification.bundle}', profile {name}: not the same model: {'; '.join(item['failed'][:3])}"
            )
