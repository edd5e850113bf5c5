"""What a value of a profile may be: rules that hold or not, with the words that say what was expected."""

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any


class ProfileError(ValueError):
    """A profile that cannot be right, or that is not there."""


Rule = tuple[Callable[[Any], bool], str]


def check(what: str, made: Any, rules: Mapping[str, Rule]) -> None:
    """Raise ProfileError for the first attribute of `made` whose rule does not hold."""
    for name, (holds, words) in rules.items():
        value = getattr(made, name)
        if not holds(value):
            raise ProfileError(f"{what}: '{name}' is {reprlib.repr(value)}, expected {words}")


def one_of(*values: object) -> Rule:
    """Return the rule of a value among these; 1 is neither 1.0 nor True."""
    return (
        lambda value: any(type(value) is type(each) and value == each for each in values)
    ), f"one of {', '.join(map(str, values))}"


def whole(low: int, high: int) -> Rule:
    """Return the rule of a whole number within bounds."""
    return (lambda value: type(value) is int and low <= value <= high), f"a whole number from {low} to {high}"


def number(high: float) -> Rule:
    """Return the rule of a number from 0 to a bound."""
    return (lambda value: type(value) in {int, float} and 0 <= value <= high), f"a number from 0 to {high}"


def text(pattern: re.Pattern[str], words: str) -> Rule:
    """Return the rule of a text that a pattern matches in full."""
    return (lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None), words


def of(kind: type | tuple[type, ...], words: str) -> Rule:
    """Return the rule of a value of a type."""
    return (lambda value: isinstance(value, kind)), words
