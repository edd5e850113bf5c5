"""What a bundle's `parity/` contains to verify it by, written at the export and read wherever it is verified.

PyTorch's outputs are for every profile. Lossy ones, which differ from those, have outputs of their own as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..bundle.manifest import PARITY, Bundle
from ..errors import IntegrityError
from .parity import Case, read_cases, write_cases

_CASES, _QUALITY, _IDENTITY = "cases.safetensors", "quality.safetensors", "identity-{profile}.safetensors"


@dataclass(frozen=True)
class References:
    """The comparisons that a bundle can repeat.

    Attributes
    ----------
    cases
        PyTorch's outputs.
    quality
        PyTorch's distributions over a text (`quality.likeliest`), for decoders with quantized weights.
    identity
        By lossy profile, the outputs of its graph at the export, condensed. A case without inputs has those of the one
        of this name in `cases`.

    """

    cases: Sequence[Case]
    quality: Sequence[Case] = ()
    identity: Mapping[str, Sequence[Case]] = field(default_factory=dict)


def write_references(out: Path, references: References) -> None:
    """Write them into the folder of a bundle."""
    files = {_IDENTITY.format(profile=name): cases for name, cases in references.identity.items()}
    for name, cases in {_CASES: references.cases, _QUALITY: references.quality, **files}.items():
        if cases:
            write_cases(out / PARITY / name, cases)


def read_references(bundle: Bundle) -> References:
    """Read what a bundle has of them; raise IntegrityError for a file that was changed or is something else."""
    cases = read_cases(bundle.check(f"{PARITY}/{_CASES}"))
    inputs = {case.name: case.inputs for case in cases}
    stored = {name: _read(bundle, _IDENTITY.format(profile=name)) for name in bundle.builds}
    identity = {
        name: [case if case.inputs else replace(case, inputs=_found(inputs, case.name)) for case in own]
        for name, own in stored.items()
        if own
    }
    return References(cases, _read(bundle, _QUALITY), identity)


def _read(bundle: Bundle, name: str) -> Sequence[Case]:
    path = f"{PARITY}/{name}"
    return read_cases(bundle.check(path)) if path in bundle.files else ()


def _found(inputs: Mapping[str, Mapping], name: str) -> Mapping:
    if name not in inputs:
        raise IntegrityError(f"parity/ has no inputs for '{name}': export the bundle again")
    return inputs[name]
