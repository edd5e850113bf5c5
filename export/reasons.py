"""Why another program refuses what it was given, in one line of plain words; it knows none of these programs."""

import copy
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..runtime.json_files import brief

_LONGEST = 300
_CLASSES = re.compile(r"\b[A-Z]\w*(?:Error|Exception): ")

Attempt = Callable[[dict[str, Any]], Any]


def reason_of(error: BaseException) -> str:
    """Return what an error says: its first line, and the next where that only announces it, without class names."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    if isinstance(error, KeyError):
        return f"{lines[0]:.{_LONGEST}} is unknown"
    said = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return _CLASSES.sub("", said)[:_LONGEST].rstrip(".:")


def culprit_of(settings: Mapping[str, Any], attempt: Attempt) -> str | None:
    """Return "FIELD is VALUE" of the one field without which `attempt` accepts the settings that it rejects, or None.

    It raises to reject them. Of a field that is an object the field inside is looked for too.
    """
    found = None if _accepts(attempt, settings) else _field(settings, attempt)
    if found is None:
        return None
    path, value = found
    return f"{'.'.join(path)} is {brief(value)}"


def _field(settings: Mapping[str, Any], attempt: Attempt) -> tuple[tuple[str, ...], Any] | None:
    for name, value in settings.items():
        rest = {key: item for key, item in settings.items() if key != name}
        if not _accepts(attempt, rest):
            continue
        inside = None
        if isinstance(value, dict):
            inside = _field(value, lambda kept, name=name, rest=rest: attempt({**rest, name: kept}))
        return ((name,), value) if inside is None else ((name, *inside[0]), inside[1])
    return None


def _accepts(attempt: Attempt, settings: Mapping[str, Any]) -> bool:
    try:
        attempt(copy.deepcopy(dict(settings)))
    except Exception:  # noqa: BLE001 - whatever it raises, it does not accept them
        return False
    return True
