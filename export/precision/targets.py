"""The profiles that an export is asked for: loaded, able to run or be emulated here, and fit for the model."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from ...profiles import Profile, ProfileError, load_profile, profile_names
from ...runtime.errors import EnvironmentMissing, UsageError
from ...runtime.graphs.families import FAMILIES
from ...runtime.machine import this_machine
from ...runtime.selection.profiles import check_machine
from ..checkpoint.opened import Checkpoint


def load_targets(names: Sequence[str | Path]) -> tuple[list[Profile], frozenset[str]]:
    """Return the profiles of these names, and which of them may be left out.

    "auto" stands for every one that this machine can run; of those only ONNX Runtime's in float32 must be.
    """
    try:
        asked = [load_profile(name) for name in names if name != "auto"]
    except ProfileError as error:
        raise UsageError(str(error)) from error
    automatic = _runnable() if "auto" in names else []
    profiles = {profile.name: profile for profile in (*automatic, *asked)}
    if not profiles:
        raise UsageError("no profile was given: name at least one (vitrify profiles)")
    _refuse_shared_files(list(profiles.values()))
    for profile in profiles.values():
        if not profile.is_emulable:
            check_machine(profile, this_machine())  # before minutes are spent on a graph that cannot be compared
    optional = {profile.name for profile in automatic if (profile.provider, profile.precision) != ("cpu", "fp32")}
    return list(profiles.values()), frozenset(optional - {profile.name for profile in asked})


def _refuse_shared_files(profiles: Sequence[Profile]) -> None:
    """Raise UsageError for profiles that would write other graphs into the same files."""
    owners: dict[str, Profile] = {}
    for profile in profiles:
        owner = owners.setdefault(profile.graph_suffix, profile)
        if _numbers(owner) != _numbers(profile):
            raise UsageError(
                f"profiles '{owner.name}' and '{profile.name}' share the graph_suffix '{profile.graph_suffix}' and not "
                "their settings: give one of them another graph_suffix, or export them into two bundles"
            )


def _numbers(profile: Profile) -> tuple[object, ...]:
    """Return what decides the numbers in a profile's graph."""
    return profile.quantization, profile.weights, profile.half, profile.half and profile.half_precision


def fitting(targets: list[Profile], checkpoint: Checkpoint, optional: Collection[str]) -> list[Profile]:
    """Return the profiles that are for models of this family; raise UsageError for others that were asked for."""
    has_unfit = not FAMILIES[checkpoint.head.family].continues_prompts
    unfit = [target for target in targets if target.weights is not None and has_unfit]
    if refused := [target.name for target in unfit if target.name not in optional]:
        raise UsageError(
            f"profile '{refused[0]}' is for decoders, and {type(checkpoint.model).__name__} is not one: "
            "use cpu-fp32, or cpu-int8 for a smaller graph"
        )
    return [target for target in targets if target not in unfit]


def require_calibrated(targets: Collection[Profile]) -> None:
    """Raise UsageError unless one of the profiles takes static quantization."""
    if not any(target.quantization is not None and target.quantization.mode == "static" for target in targets):
        names = ", ".join(target.name for target in targets)
        raise UsageError(
            f"--calibration: none of {names} is calibrated; cpu-int8-static, cpu-int8-bf16, trt-int8, trt-fp8 are"
        )


def _runnable() -> list[Profile]:
    machine, found = this_machine(), []
    for profile in map(load_profile, profile_names()):
        with suppress(EnvironmentMissing):
            check_machine(profile, machine)
            found.append(profile)
    return sorted(found, key=lambda profile: profile.precision != "fp32")
