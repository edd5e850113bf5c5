"""preprocessor_config.json, of images and of speech: read as an object, its class looked up, its values checked.

It knows no setting by name: each kind of processor has its own table of checks.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import IntegrityError, UnsupportedError, UsageError
from ..json_files import brief, read_object

CONFIG_NAME = "preprocessor_config.json"
JOINT_NAME = "processor_config.json"

Check = Callable[[str, Any], Any]
"""Takes a setting's name and value; returns the value as it is used, or raises UsageError."""

_MAX_NUMBER = 1e30  # fits float32, and is refused by comparison: JSON has NaN, Infinity and integers of any length


def read_config(folder: Path, *, of: str, part: str) -> dict[str, Any]:
    """Return the JSON object in a folder's file, or its `part` in the file of all processors of transformers 5.

    `of` says what it prepares. Raises IntegrityError without one.
    """
    if not (folder / CONFIG_NAME).is_file() and (nested := _read_object(folder / JOINT_NAME, of=of).get(part)):
        return nested if isinstance(nested, dict) else {}
    return _read_object(folder / CONFIG_NAME, of=of)


def _read_object(path: Path, *, of: str) -> dict[str, Any]:
    try:
        return read_object(path)
    except FileNotFoundError as error:
        raise IntegrityError(f"no {CONFIG_NAME} in '{path.parent}', so {of} cannot be prepared") from error


def known_class(name: str | None, known: Collection[str], *, what: str) -> str:
    """Return the name of a class that the runtime has; raise UnsupportedError, naming those, for another or none."""
    if name is None:
        field = f"{what.replace(' ', '_')}_type"
        raise UnsupportedError(f'no file names the class of the {what}: add "{field}" to {CONFIG_NAME}')
    if name not in known:
        raise UnsupportedError(f"{what} {brief(name)} is not supported (supported: {', '.join(known)})")
    return name


def checked(config: Mapping[str, Any], checks: Mapping[str, Check]) -> dict[str, Any]:
    """Return the settings among the values, checked; null means unset, other names belong to other programs."""
    return {name: check(name, config[name]) for name, check in checks.items() if config.get(name) is not None}


def flag(name: str, value: Any) -> bool:
    """Check a truth value."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {brief(value)} (allowed: true, false)")
    return value


def number(name: str, value: Any) -> float:
    """Check a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_NUMBER:
        raise UsageError(f"{name} is {brief(value)} (allowed: a finite number of at most {_MAX_NUMBER:g})")
    return float(value)


def count(name: str, value: Any, *, allowed: range) -> int:
    """Check a whole number within bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in allowed:
        raise UsageError(f"{name} is {brief(value)} (allowed: whole numbers from {allowed[0]} to {allowed[-1]})")
    return int(value)
