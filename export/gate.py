"""The parity gate: the runtime's sessions against the oracle, over a plan's grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..profiles import Tolerance
from ..runtime.loading import Model
from ..runtime.parity import Case, Figure, compare
from .grids import Plan
from .oracle import Oracle


@dataclass(frozen=True)
class Subject:
    """What is compared: a profile's model and what the profile allows."""

    model: Model
    tolerance: Tolerance


@dataclass
class Findings:
    """The figures of each profile, and the cases that fit the bundle's budget."""

    figures: dict[str, list[Figure]] = field(default_factory=dict)
    kept: list[Case] = field(default_factory=list)
    minimum: int = 1


def examine(plan: Plan, oracle: Oracle, subjects: Mapping[str, Subject], *, budget: int) -> Findings:
    """Compare every subject with the oracle, case by case: logits of a large vocabulary never pile up.

    `budget` bytes of cases are kept, in the grid's order, for the bundle's `parity/`.
    """
    findings = Findings({name: [] for name in subjects}, minimum=_smallest(plan, oracle, next(iter(subjects.values()))))
    shortest = [named for named in plan.shortest if next(iter(named[1].values())).shape[1] == findings.minimum]
    used = 0
    for name, inputs in (*shortest, *plan.grid):
        case = oracle.case(name, inputs)
        for profile, subject in subjects.items():
            findings.figures[profile].extend(compare(subject.model, [case], subject.tolerance))
        size = sum(value.nbytes for value in (*case.inputs.values(), *case.expected.values()))
        if used + size <= budget:
            used += size
            findings.kept.append(case)
    return findings


def _smallest(plan: Plan, oracle: Oracle, subject: Subject) -> int:
    """Return the shortest sequence on which the graph is right; 1 where no sequence is."""
    for name, inputs in plan.shortest:
        case = oracle.case(name, inputs)
        if all(figure.passed for figure in compare(subject.model, [case], subject.tolerance)):
            return next(iter(inputs.values())).shape[1]
    return 1
