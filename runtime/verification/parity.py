"""Compare a session's outputs with PyTorch's, and keep cases on disk so that any machine can do it again.

It knows nothing of torch: reference outputs come as arrays, from the exporter's oracle or from a bundle's `parity/`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...profiles import Tolerance
from ..errors import IntegrityError, VitrifyError
from ..numerics import Arrays


@dataclass(frozen=True)
class Case:
    """Inputs, and what the PyTorch model answers to them."""

    name: str
    inputs: Arrays
    expected: Arrays


@dataclass(frozen=True)
class Figure:
    """How far one output of one case is from PyTorch's: largest absolute difference, and the limit it must keep.

    `scale` is the largest magnitude of PyTorch's output.
    `agreement` is the share of rows whose largest value stands at the same place, of those rows where PyTorch's two
    largest values are further apart than the limit allows to swap; 1.0 where there is none.
    """

    case: str
    output: str
    difference: float
    limit: float
    scale: float
    agreement: float
    required: float

    @property
    def passed(self) -> bool:
        """Whether the difference keeps the limit (a NaN never does) and enough decisions agree."""
        return self.difference <= self.limit and self.agreement >= self.required

    def __str__(self) -> str:
        text = f"{self.case}: {self.output} differs by {self.difference:.2g} (allowed {self.limit:.2g})"
        return text if self.agreement >= self.required else f"{text}, {self.agreement:.1%} of decisions agree"


def figures_of(case: Case, outputs: Arrays, tolerance: Tolerance) -> list[Figure]:
    """Return one figure for each expected output; a missing output or another shape is an infinite difference.

    Padded positions are left out: no pipeline reads them, and there PyTorch itself is off float64 by the tolerance.
    """
    return [_figure(case, name, outputs.get(name), tolerance) for name in case.expected]


def _figure(case: Case, name: str, got: np.ndarray | None, tolerance: Tolerance) -> Figure:
    expected = case.expected[name]
    scale = float(np.abs(expected).max(initial=0))
    limit = tolerance.limit(scale)
    if got is None or got.shape != expected.shape:
        return Figure(case.name, name, float("inf"), limit, scale, 0.0, tolerance.agreement)
    got = _without_padding(expected, got, case.inputs.get("attention_mask"))
    difference = float(np.abs(got - expected).max(initial=0))
    return Figure(case.name, name, difference, limit, scale, _agreement(expected, got, limit), tolerance.agreement)


def _without_padding(expected: np.ndarray, got: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return `got` [batch, sequence, ...] with the expected values where the mask [batch, sequence] is 0."""
    if mask is None or got.shape[:2] != mask.shape:
        return got
    kept = mask.astype(bool).reshape(mask.shape + (1,) * (got.ndim - 2))
    return np.where(kept, got, expected)


def _agreement(expected: np.ndarray, got: np.ndarray, limit: float) -> float:
    if expected.ndim != 2 or expected.shape[1] < 2:
        return 1.0
    top = np.sort(expected, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * limit
    same = expected.argmax(1) == got.argmax(1)
    return float(same[clear].mean()) if clear.any() else 1.0


def compare(model: Callable[..., Arrays], cases: Iterable[Case], tolerance: Tolerance) -> list[Figure]:
    """Call the model on every case and return all figures; a case that cannot run is an infinite difference."""
    return [figure for case in cases for figure in figures_of(case, answer(model, case.inputs), tolerance)]


def answer(model: Callable[..., Arrays], inputs: Arrays) -> Arrays:
    """Return what the model makes of inputs, nothing where it cannot run."""
    try:
        return model(**inputs)
    except VitrifyError:
        return {}


def summary(figures: Iterable[Figure]) -> dict[str, Any]:
    """Return what a report says: how many were compared, the worst of them, those that failed, and the drift.

    The drift is the largest difference over the magnitude of the output it is in.
    """
    figures = list(figures)
    worst = max(figures, key=lambda figure: figure.difference / (figure.limit or 1), default=None)
    return {
        "compared": len(figures),
        "passed": bool(figures) and all(figure.passed for figure in figures),
        "drift": max((figure.difference / (figure.scale or 1) for figure in figures), default=None),
        "worst": asdict(worst) if worst else None,
        "failed": [str(figure) for figure in figures if not figure.passed],
    }


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write cases as one safetensors file; one key of metadata, because several come in any order."""
    from safetensors.numpy import save_file

    cases = list(cases)
    tensors = {
        f"{index}|{side}|{name}": np.ascontiguousarray(value)
        for index, case in enumerate(cases)
        for side, arrays in (("inputs", case.inputs), ("expected", case.expected))
        for name, value in arrays.items()
    }
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata={"names": json.dumps([case.name for case in cases])})


def read_cases(path: Path) -> list[Case]:
    """Read what `write_cases` wrote; raise IntegrityError if it is something else."""
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = json.loads(file.metadata()["names"])
            parts: list[dict[str, dict[str, np.ndarray]]] = [{"inputs": {}, "expected": {}} for _ in names]
            for key in file.keys():  # noqa: SIM118 - not a mapping
                index, side, name = key.split("|", 2)
                parts[int(index)][side][name] = file.get_tensor(key)
    except (ValueError, KeyError, IndexError, TypeError, OSError) as error:
        raise IntegrityError(f"'{path}' does not contain parity cases ({error}): export the bundle again") from error
    except Exception as error:  # SafetensorError derives from Exception alone
        raise IntegrityError(f"'{path}' is not a safetensors file ({error}): export the bundle again") from error
    return [Case(name, **arrays) for name, arrays in zip(names, parts, strict=True)]
