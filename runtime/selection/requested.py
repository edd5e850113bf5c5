"""Which profile the arguments `profile`, `dtype` and `device` of `pipeline()` ask for; it opens nothing.

A dtype is a precision and a device some providers. Profiles are found by these two, never by name: in a bundle among
those that it was built for, else among the presets. Of several, the preset that comes first counts (ONNX Runtime before
OpenVINO, the CPU before a GPU, a device's usual precision before others) and, where a bundle lacks it, its first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from ...profiles import Profile, ProfileError, load_profile, profile_names
from ..errors import UsageError
from ..sessions import BACKENDS

AUTO = "auto"
# The words for a precision; the first of each is the one in messages.
_PRECISIONS: Mapping[str, str] = MappingProxyType(
    {
        "float32": "fp32",
        "fp32": "fp32",
        "bfloat16": "bf16",
        "bf16": "bf16",
        "int8": "int8",
        "float16": "fp16",
        "fp16": "fp16",
    }
)
_OWN = ".toml"
_DEVICE = re.compile(r"(?P<cpu>-1)|(?P<index>\d+)|(?P<name>[a-z]+)(:\d+)?")


class Device(NamedTuple):
    """The providers that are chosen on a device, in their order, and the precision that is usual there."""

    providers: tuple[str, ...]
    usual: str


DEVICES: Mapping[str, Device] = MappingProxyType(
    {"cpu": Device(("cpu", "openvino"), "fp32"), "cuda": Device(("cuda",), "fp16")}
)


@dataclass(frozen=True)
class Requested:
    """A profile by name, path or "auto", a precision and a device that are asked for; None leaves it open."""

    profile: str | None = None
    precision: str | None = None
    device: str | None = None

    def preset(self) -> str | None:
        """Return the profile to compile a checkpoint for, or None for the default one.

        Raises UsageError where no preset is what is asked for, or the profile that is named is not.
        """
        if self.profile is not None:
            self._named({})
            return self.profile
        if self.precision is None and self.device in {None, "cpu"}:
            return None
        return self._first_preset()

    def within(self, profiles: Mapping[str, Profile]) -> str | None:
        """Return the one of a bundle's profiles that is asked for, or None for the bundle's default.

        Where the bundle has none it is the preset that would be. Raises UsageError where there is no such preset
        either, or the profile that is named is not what else is asked for.
        """
        if self.profile is not None:
            return self._named(profiles)
        if self.precision is None and self.device is None:
            return None
        fitting = [name for name, profile in profiles.items() if self._chooses(profile)]
        if not fitting:
            return self._first_preset()
        preferred = self.presets()[:1]
        if set(preferred) <= set(fitting) and preferred:
            return preferred[0]
        is_open = self.precision is None and len(fitting) == len(profiles)
        return None if is_open else fitting[0]

    def agrees(self, profile: Profile) -> bool:
        """Tell whether a profile has the precision, and runs on the device, that are asked for."""
        return self.precision in {None, profile.precision} and self.device in {None, device_of(profile)}

    @property
    def words(self) -> str:
        """What is asked for beside a profile, such as "bfloat16 on device 'cuda'"."""
        parts = [dtype_of(self.precision)] if self.precision else []
        return " ".join([*parts, *([f"on device '{self.device}'"] if self.device else [])])

    def _first_preset(self) -> str:
        found = self.presets()
        if not found:
            there = ", ".join(Requested(device=self.device).presets())
            raise UsageError(f"no profile runs {self.words} (there: {there}): pass one of these as profile=")
        return found[0]

    def presets(self) -> list[str]:
        """Return the names of the presets that are chosen from, the preferred one first."""
        order = [provider for row in DEVICES.values() for provider in row.providers]
        found = [profile for profile in map(load_profile, profile_names()) if self._chooses(profile)]

        def preference(profile: Profile) -> tuple[bool, int]:
            return profile.precision != DEVICES[device_of(profile)].usual, order.index(profile.provider)

        return [profile.name for profile in sorted(found, key=preference)]

    def _chooses(self, profile: Profile) -> bool:
        return self.agrees(profile) and profile.provider in DEVICES[device_of(profile)].providers

    def _named(self, profiles: Mapping[str, Profile]) -> str:
        """Return the name of the profile that is named; raise UsageError where it is known and does not agree."""
        name = str(self.profile)
        if name == AUTO and (self.precision is not None or self.device not in {None, "cpu"}):
            raise UsageError(
                f"profile 'auto' finds the precision and runs on the CPU, not {self.words}: pass one of them"
            )
        if name == AUTO or not (self.words or name.endswith(_OWN)):
            return name
        known = profiles.get(name) or _preset(name)
        if known is None:
            return name
        if not self.agrees(known):
            raise UsageError(
                f"profile '{known.name}' runs {dtype_of(known.precision)} on device '{device_of(known)}', and "
                f"{self.words} is asked for too: pass the profile alone"
            )
        return known.name


def read_request(*, profile: str | None, dtype: Any, device: Any, device_map: Any) -> Requested:
    """Return what the arguments of `pipeline()` ask for; raise UsageError for a dtype or a device that is not known."""
    if device is not None and device_map is not None:
        raise UsageError(f"device={device!r} and device_map={device_map!r} were both given: keep one")
    word = str(dtype).removeprefix("torch.") if dtype is not None else AUTO
    if word not in {AUTO, *_PRECISIONS}:
        raise UsageError(f"dtype must be one of {', '.join((AUTO, *_PRECISIONS))}, got {dtype!r}")
    place = _read_device("device", device) if device_map is None else _read_device("device_map", device_map)
    return Requested(profile, _PRECISIONS.get(word), place)


def _read_device(argument: str, value: Any) -> str | None:
    """Return a row of DEVICES or None; an index is a GPU's, -1 the CPU, and `torch.device` reads as its text."""
    if isinstance(value, Mapping) and len(value) == 1:  # a device map of the whole model
        value = next(iter(value.values()))
    if str(value) in {"None", AUTO}:
        return None
    found = _DEVICE.fullmatch(str(value))
    name = found and ("cpu" if found["cpu"] else "cuda" if found["index"] else found["name"])
    if name not in DEVICES:
        raise UsageError(f"{argument} '{value}' is not supported (supported: {', '.join(DEVICES)})")
    return name


def _preset(name: str) -> Profile | None:
    """Return a preset, or the caller's own profile in a file; None for a name that only a bundle may know."""
    if not name.endswith(_OWN) and name not in profile_names():
        return None
    try:
        return load_profile(name)
    except ProfileError as error:
        raise UsageError(str(error)) from error


def device_of(profile: Profile) -> str:
    """Return the row of DEVICES that a profile runs on."""
    return "cpu" if BACKENDS[profile.provider].device is None else "cuda"


def dtype_of(precision: str) -> str:
    """Return a precision's name as a dtype; one that is no dtype's as it is."""
    return next((word for word, known in _PRECISIONS.items() if known == precision), precision)
