"""Conditions such as `fused<1`: what a gate must not find among its numbers."""

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from ..errors import UsageError

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|==|!=|<|>)\s*(-?\d+(?:\.\d+)?(?:e-?\d+)?)\s*")


@dataclass(frozen=True)
class Condition:
    """A name, a comparison and a number; it `holds` of numbers that a gate must refuse."""

    name: str
    compares: str
    number: float

    def __str__(self) -> str:
        return f"{self.name}{self.compares}{self.number:g}"

    def holds(self, found: Mapping[str, float]) -> bool:
        """Whether it holds of these numbers; raise UsageError if its name is none of them."""
        self.require_among(found)
        return _OPERATORS[self.compares](found[self.name], self.number)

    def require_among(self, names: Collection[str]) -> None:
        """Raise UsageError if its name is none of these."""
        if self.name not in names:
            raise UsageError(f"--fail-if '{self}': no metric is called '{self.name}' (known: {', '.join(names)})")


def read_conditions(texts: Iterable[str], names: Collection[str]) -> list[Condition]:
    """Return the conditions that texts say; raise UsageError if one says none, or of none of these names."""
    conditions = [read_condition(text) for text in texts]
    for condition in conditions:
        condition.require_among(names)
    return conditions


def read_condition(text: str) -> Condition:
    """Return the condition that a text says; raise UsageError if it says none."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(f"--fail-if: got '{text}', expected a name, a comparison and a number, such as 'fused<1'")
    name, compares, number = found.groups()
    return Condition(name, compares, float(number))
