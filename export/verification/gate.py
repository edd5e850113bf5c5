"""The parity gate: the runtime's sessions against the oracle, over a plan's grid."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...profiles import Tolerance
from ...runtime.errors import ExportError
from ...runtime.numerics import Arrays
from ...runtime.verification.identity import POSITIONS, condensed
from ...runtime.verification.parity import Case, Figure, answer, figures_of
from ..reasons import reason_of
from .plan import Oracle, Plan

# Of the bundle's budget, for what each lossy profile answers; and the largest inputs that are stored only for that.
_RECORD_BYTES, _INPUT_BYTES = 256 * 1024, 128 * 1024

# Sums in another order differ by as much.
_ALIKE = Tolerance(absolute=1e-5, relative=1e-5)


@dataclass(frozen=True)
class Subject:
    """What is compared: a profile's models, each called with a case's inputs by name, and what the profile allows.

    What the first of those that are `recorded` answers goes into the bundle.
    """

    models: Sequence[Callable[..., Arrays]]
    tolerance: Tolerance
    recorded: bool = False

    def answers(self, inputs: Arrays) -> list[Arrays]:
        """Return the outputs of each model, none where it cannot run."""
        return [answer(model, inputs) for model in self.models]

    def figures(self, case: Case) -> list[Figure]:
        """Return how far each model is from the case's expected outputs."""
        return self.figures_of(case, self.answers(case.inputs))

    def figures_of(self, case: Case, answers: Sequence[Arrays]) -> list[Figure]:
        """Return how far answers are from the case's expected outputs."""
        return [figure for outputs in answers for figure in figures_of(case, outputs, self.tolerance)]


@dataclass
class Findings:
    """The figures of each profile, and the cases that fit the bundle's budget: `recorded` are lossy profiles' own.

    `repeats` says whether the oracle gave the same answer to the first case before the others and after them.
    """

    figures: dict[str, list[Figure]] = field(default_factory=dict)
    kept: list[Case] = field(default_factory=list)
    minimum: int = 1
    recorded: dict[str, list[Case]] = field(default_factory=dict)
    repeats: bool = True

    def record(self, profile: str, name: str, inputs: Arrays, outputs: Arrays) -> None:
        """Record what a lossy profile answers, unless there is enough of it; inputs that are kept are not repeated."""
        own = self.recorded.setdefault(profile, [])
        if not outputs or self.positions(profile) >= POSITIONS:
            return
        repeated = any(case.name == name for case in self.kept)
        if repeated or _size(inputs) <= _INPUT_BYTES:
            own.append(Case(name, {} if repeated else inputs, condensed(inputs, outputs)))

    def positions(self, profile: str) -> int:
        """Return at how many positions a profile's outputs are recorded."""
        return sum(len(next(iter(case.expected.values()))) for case in self.recorded[profile])


def examine(plan: Plan, oracle: Oracle, subjects: Mapping[str, Subject], *, budget: int) -> Findings:
    """Compare every subject with the oracle, case by case: logits of a large vocabulary never pile up.

    `budget` bytes are kept for the bundle's `parity/`: cases in the grid's order, and what lossy subjects answer.
    """
    findings = Findings({name: [] for name in subjects}, minimum=_smallest(plan, oracle, next(iter(subjects.values()))))
    shortest = [named for named in plan.shortest if next(iter(named[1].values())).shape[1] == findings.minimum]
    recorded = {name: subject for name, subject in subjects.items() if subject.recorded}
    left = budget - _RECORD_BYTES * len(recorded)
    first = None
    for name, inputs in (*shortest, *plan.grid):
        case = _reference(oracle, name, inputs)
        first = first or case
        size = _size(case.inputs) + _size(case.expected)
        if size <= left:
            left -= size
            findings.kept.append(case)
        for profile, subject in subjects.items():
            answers = subject.answers(inputs)
            findings.figures[profile].extend(subject.figures_of(case, answers))
            if profile in recorded:
                findings.record(profile, name, inputs, answers[0])
    for name, inputs in plan.more:
        for profile, subject in recorded.items():
            if findings.positions(profile) < POSITIONS:
                findings.record(profile, name, inputs, answer(subject.models[0], inputs))
    findings.repeats = first is None or _repeats(oracle, first)
    return findings


def _reference(oracle: Oracle, name: str, inputs: Arrays) -> Case:
    """Return what the model answers; raise ExportError with its own reason where it fails."""
    try:
        return oracle.case(name, inputs)
    except Exception as error:
        raise ExportError(
            f"the PyTorch model itself fails on {name}: {reason_of(error)}. Correct the limits in its config.json"
        ) from error


def _repeats(oracle: Oracle, case: Case) -> bool:
    again = oracle.case(case.name, case.inputs)
    return all(figure.passed for figure in figures_of(case, again.expected, _ALIKE))


def _size(arrays: Arrays) -> int:
    return sum(value.nbytes for value in arrays.values())


def _smallest(plan: Plan, oracle: Oracle, subject: Subject) -> int:
    """Return the shortest sequence on which the graph is right; 1 where no sequence is."""
    for name, inputs in plan.shortest:
        case = _reference(oracle, name, inputs)
        if all(figure.passed for figure in subject.figures(case)):
            return next(iter(inputs.values())).shape[1]
    return 1
