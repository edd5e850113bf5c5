"""The parity gate: the runtime's sessions against the oracle, over a plan's grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...profiles import Tolerance
from ...runtime.errors import ExportError
from ...runtime.numerics import Arrays
from ...runtime.verification.parity import Case, Figure, compare
from .plan import Oracle, Plan


@dataclass(frozen=True)
class Subject:
    """What is compared: a profile's models, each called with a case's inputs by name, and what the profile allows."""

    models: Sequence[Callable[..., Arrays]]
    tolerance: Tolerance

    def figures(self, case: Case) -> list[Figure]:
        """Return how far each model is from the case's expected outputs."""
        return [figure for model in self.models for figure in compare(model, [case], self.tolerance)]


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
        case = _reference(oracle, name, inputs)
        for profile, subject in subjects.items():
            findings.figures[profile].extend(subject.figures(case))
        size = sum(value.nbytes for value in (*case.inputs.values(), *case.expected.values()))
        if used + size <= budget:
            used += size
            findings.kept.append(case)
    return findings


def _reference(oracle: Oracle, name: str, inputs: Arrays) -> Case:
    """Return what the model answers; raise ExportError with its own reason where it fails."""
    try:
        return oracle.case(name, inputs)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ExportError(
            f"the PyTorch model itself fails on {name}: {type(error).__name__}: {reason}. "
            "Correct the limits in its config.json"
        ) from error


def _smallest(plan: Plan, oracle: Oracle, subject: Subject) -> int:
    """Return the shortest sequence on which the graph is right; 1 where no sequence is."""
    for name, inputs in plan.shortest:
        case = _reference(oracle, name, inputs)
        if all(figure.passed for figure in subject.figures(case)):
            return next(iter(inputs.values())).shape[1]
    return 1
