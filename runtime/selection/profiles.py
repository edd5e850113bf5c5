"""What `auto` picks: the fastest profile that the machine can run and whose drift was recorded and is small enough.

It knows profiles by provider and precision, never by name, and looks at nothing by itself but installed packages.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...profiles import Profile
from ..errors import EnvironmentMissing, UsageError, VitrifyError
from ..machine import Machine
from ..sessions import check_device, check_packages

if TYPE_CHECKING:
    from .tuned import Tuned


@dataclass(frozen=True)
class Choice:
    """A profile, and one sentence for each candidate that says why it was chosen or passed over.

    `threads`, session config `entries` and whether graphs were `prepacked` go with it where they were measured.
    """

    profile: Profile
    reasons: tuple[str, ...] = ()
    threads: int | None = None
    entries: Mapping[str, str] = field(default_factory=dict)
    prepacked: bool = False


@dataclass(frozen=True)
class _Pace:
    provider: str
    precision: str
    feature: str | None
    reason: str


# Fastest first. Ratios to cpu-fp32 for BERT-base at 1 x 128 on two cores of an AMX Xeon; shorter inputs favour int8
# (1 x 16: 3.1 against 2.1), longer batches bfloat16 (8 x 128: 2.8 against 5.6); OpenVINO's int8 was not measured there.
# AVX512 without AMX: on a Zen 4. The others are published figures.
_PACES = (
    _Pace("openvino", "bf16", "amx_bf16", "bfloat16 on AMX, 3.7 times cpu-fp32"),
    _Pace("openvino", "int8", "amx_int8", "int8 on AMX, static quantization"),
    _Pace("cpu", "int8", "amx_int8", "int8 on AMX, 3 times cpu-fp32"),
    _Pace("openvino", "int8", "avx512_vnni", "int8 on AVX512-VNNI, 3.5 times cpu-fp32"),
    _Pace("cpu", "int8", "avx512_vnni", "int8 on AVX512-VNNI, 3 times cpu-fp32"),
    _Pace("openvino", "int8", "avx_vnni", "int8 on AVX-VNNI, static quantization"),
    _Pace("cpu", "int8", "avx_vnni", "int8 on AVX-VNNI, about 1.6 times cpu-fp32"),
    _Pace("openvino", "bf16", "avx512_bf16", "bfloat16 on AVX512-BF16, twice cpu-fp32"),
    _Pace("cpu", "fp32", None, "float32 runs on every CPU"),
    _Pace("openvino", "fp32", None, "float32 in OpenVINO, about as fast"),
)


def choose_tuned(
    machine: Machine, ways: Sequence["Tuned"], *, profiles: Mapping[str, Profile], max_drift: float
) -> Choice | None:
    """Return the fastest configuration measured here whose max relative error is small enough; None if there is none.

    `ways` are the fastest first, `profiles` the bundle's.
    """
    for way in ways:
        if way.profile in profiles and way.drift <= max_drift and not _missing(profiles[way.profile], machine):
            spent = ", ".join(f"{case}: {found:.3g} ms" for case, found in way.milliseconds.items())
            reason = f"{way.profile}: chosen, the fastest of what `vitrify tune` measured here ({spent})"
            return Choice(profiles[way.profile], (reason,), way.threads, way.entries, way.prepacked)
    return None


def choose_profile(
    machine: Machine,
    *,
    candidates: Sequence[Profile],
    drift: Mapping[str, float],
    max_drift: float,
    installed: Collection[str] | None = None,
) -> Choice:
    """Pick among the profiles that a bundle holds.

    Parameters
    ----------
    machine
        What the CPU can do.
    candidates
        The bundle's profiles.
    drift
        By profile name, the largest difference from PyTorch's outputs over their largest magnitude, as the bundle
        records it; a profile in float32 may lack it.
    max_drift
        The largest drift accepted.
    installed
        The packages that are installed; None looks.

    Raises
    ------
    EnvironmentMissing
        No candidate runs here within `max_drift`; the message gives each one's reason.

    """
    if not candidates:
        raise UsageError("profile auto: the bundle contains no profile to choose from. Export it again")
    obstacles = {
        profile.name: _obstacle(profile, machine, installed=installed)
        or _excess(profile, drift=drift, max_drift=max_drift)
        for profile in candidates
    }
    usable = [profile for profile in candidates if obstacles[profile.name] is None]
    if not usable:
        raise EnvironmentMissing(f"profile auto: none of the bundle's profiles will do ({_listed(obstacles)})")
    best = min(usable, key=lambda profile: _rank(profile, machine))
    return Choice(
        best, tuple(_reason(profile, machine, best=best, obstacle=obstacles[profile.name]) for profile in candidates)
    )


def check_machine(profile: Profile, machine: Machine, *, installed: Collection[str] | None = None) -> None:
    """Raise EnvironmentMissing or DependencyMissing where the machine or its packages cannot run the profile."""
    if not machine.has_any(profile.requires):
        needed = " or ".join(" with ".join(names) for names in profile.requires)
        raise EnvironmentMissing(
            f"profile '{profile.name}' needs a CPU with {needed}, and this one ({machine.model_name}) has none of it"
        )
    check_device(profile.provider, machine)
    check_packages(profile.provider, installed=installed)


def _obstacle(profile: Profile, machine: Machine, *, installed: Collection[str] | None) -> str | None:
    if missing := _missing(profile, machine, installed=installed):
        return missing
    if _rank(profile, machine) == len(_PACES):
        return f"nothing is known of the speed of {profile.precision} on '{profile.provider}' here"
    return None


def _missing(profile: Profile, machine: Machine, *, installed: Collection[str] | None = None) -> str | None:
    try:
        check_machine(profile, machine, installed=installed)
    except VitrifyError as error:
        return str(error)
    return None


def _excess(profile: Profile, *, drift: Mapping[str, float], max_drift: float) -> str | None:
    recorded = drift.get(profile.name, 0.0 if profile.precision == "fp32" else None)
    if recorded is None:
        return "its max relative error is not recorded in the bundle"
    if not recorded <= max_drift:
        return f"its max relative error {recorded:.2g} is more than the accepted {max_drift:.2g}"
    return None


def _rank(profile: Profile, machine: Machine) -> int:
    """Return the row of `_PACES` that the profile reaches here; the table's length if none."""
    for position, pace in enumerate(_PACES):
        if (pace.provider, pace.precision) == (profile.provider, profile.precision) and (
            pace.feature is None or pace.feature in machine.cpu_features
        ):
            return position
    return len(_PACES)


def _reason(profile: Profile, machine: Machine, *, best: Profile, obstacle: str | None) -> str:
    if obstacle is not None:
        return f"{profile.name}: passed over, {obstacle}"
    reason = _PACES[_rank(profile, machine)].reason
    return f"{profile.name}: {'chosen' if profile is best else f'slower here than {best.name}'}, {reason}"


def _listed(obstacles: Mapping[str, str | None]) -> str:
    return "; ".join(f"{name}: {obstacle}" for name, obstacle in obstacles.items())
