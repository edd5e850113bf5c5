"""What the figures depend on, in words: the machine, how it stood before and after, versions, settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..units import measure, significant
from .reading import Reading
from .svg import Markup, element

_NAMES = {
    "cpu": "CPU",
    "features": "features",
    "cores": "cores",
    "memory_gb": "memory",
    "system": "system",
    "python": "Python",
    "governor": "clock governor",
    "mhz": "clocks",
    "load": "load",
}
_PEAKS = {
    "gflops": ("float32 peak", "GFLOP/s"),
    "gflops_bf16": ("bfloat16 peak", "GFLOP/s"),
    "gflops_int8": ("int8 peak", "GOP/s"),
    "gigabytes_per_second": ("memory peak", "GB/s"),
}


def environment(reading: Reading) -> Markup | None:
    """Return the machine as a list of facts; a fact that is not known is left out."""
    result = reading.result
    given = {**result.environment}
    before, after = _mapping(given.pop("before", {})), _mapping(given.pop("after", {}))
    versions = {**_mapping(given.pop("packages", {})), **result.versions}
    facts = [(_NAMES.get(name, _spaced(name)), _said(name, value)) for name, value in given.items()]
    facts += [_change(name, before.get(name), after.get(name)) for name in dict.fromkeys([*before, *after])]
    facts += [(name, measure(result.peaks[key], unit)) for key, (name, unit) in _PEAKS.items() if key in result.peaks]
    facts += [(_spaced(name), significant(value)) for name, value in result.peaks.items() if name not in _PEAKS]
    facts += [("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    return facts_list(facts)


def settings(reading: Reading) -> Markup | None:
    """Return what was asked for: the command where it is known, then every other setting."""
    given = dict(reading.result.settings)
    command = given.pop("command", None)
    said = " ".join(command) if isinstance(command, list | tuple) else command
    parts = [element("pre", element("code", said)) if said else None]
    parts.append(facts_list((_spaced(name), _plain(value)) for name, value in given.items()))
    return element("div", *parts) if any(parts) else None


def facts_list(facts: Iterable[tuple[str, str]]) -> Markup | None:
    """Return names with what is known of each, or None where nothing is."""
    known = [(name, text) for name, text in facts if text]
    if not known:
        return None
    groups = (element("div", element("dt", name), element("dd", text), class_=_breadth(text)) for name, text in known)
    return element("dl", *groups, class_="facts")


def _breadth(text: str) -> str | None:
    return "wide" if len(text) > 60 else "broad" if len(text) > 22 else None


def _said(name: str, value: Any) -> str:
    if name == "memory_gb" and isinstance(value, int | float):
        return f"{value:g} GB"
    if name == "mhz":
        return _clocks(value)
    return _plain(value)


def _change(name: str, before: Any, after: Any) -> tuple[str, str]:
    """Return how something stood before the run and after it, once where it stayed."""
    said = dict.fromkeys(_said(name, value) for value in (before, after) if value is not None)
    title = _NAMES.get(name, _spaced(name))
    return f"{title}, before → after" if len(said) > 1 else title, " → ".join(said)


def _clocks(value: Any) -> str:
    given = value if isinstance(value, list | tuple) else [value]
    clocks = [clock for clock in given if isinstance(clock, int | float)]
    if not clocks or len(clocks) < len(given):
        return _plain(value)
    low, high = significant(min(clocks) / 1000), significant(max(clocks) / 1000)
    return f"{low} GHz" if low == high else f"{low}-{high} GHz"


def _plain(value: Any) -> str:
    """Return a value of the document in words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_spaced(str(name))} {_plain(item)}" for name, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
