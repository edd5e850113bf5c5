"""What the names of an ONNX folder's files say: which graphs, in which precision; it opens none.

optimum, transformers.js and sentence-transformers name graphs alike: in `onnx/` or, by older releases of optimum, at
the top, each with a suffix that tells its precision, its level of optimization or the CPU it is for.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import UnsupportedError, UsageError
from ..graphs.families import FAMILIES
from .checkpoint_files import has_weights

FOLDER = "onnx/"
PLAIN = "fp32"


@dataclass(frozen=True)
class Variant:
    """One precision: the profile that runs it, what its files' names end in, and what a profile says of its numbers."""

    name: str
    suffix: str
    precision: str
    facts: Mapping[str, Any] = field(default_factory=dict)


_INT8: Mapping[str, Any] = {"quantization": {}}
_HALF: Mapping[str, Any] = {"half": {}}
_FOUR: Mapping[str, Any] = {"weights": {"bits": 4}}
_OF_SENTENCE_TRANSFORMERS = ("qint8_avx512_vnni", "qint8_avx512", "quint8_avx2", "qint8_arm64")
VARIANTS = (
    Variant(PLAIN, "", "fp32"),
    Variant("optimized", "_optimized", "fp32"),
    *(Variant(f"O{level}", f"_O{level}", "fp32") for level in (1, 2, 3)),
    Variant("fp16", "_fp16", "fp16", _HALF),
    Variant("O4", "_O4", "fp16", _HALF),
    Variant("quantized", "_quantized", "int8", _INT8),
    Variant("int8", "_int8", "int8", _INT8),
    Variant("uint8", "_uint8", "int8", _INT8),
    *(Variant(name, f"_{name}", "int8", _INT8) for name in _OF_SENTENCE_TRANSFORMERS),
    Variant("q4", "_q4", "w4", _FOUR),
    Variant("q4f16", "_q4f16", "w4", _FOUR),
    Variant("bnb4", "_bnb4", "w4", _FOUR),
)


def find_variants(names: Iterable[str], *, family: str | None = None) -> dict[str, dict[str, str]]:
    """Return, by the names of variants, the files of each one's graphs; of `family` only, where it is given.

    `names` are the folder's files, relative to it, with `/`. Graphs in `onnx/` hide those at the top.
    """
    there = {name for name in names if name.endswith(".onnx")}
    for folder in (FOLDER, ""):
        found = {variant.name: _graphs(there, folder, variant.suffix, family) for variant in VARIANTS}
        if whole := {name: graphs for name, graphs in found.items() if graphs}:
            return whole
    return {}


def require_known_names(where: str, names: Iterable[str]) -> None:
    """Raise UnsupportedError where there are graphs alone, and by their names they are none of a model's."""
    names = list(names)
    if any(name.endswith((".safetensors", ".bin")) for name in names):
        return
    graphs = sorted(name for name in names if name.endswith(".onnx") and name.count("/") == name.startswith(FOLDER))
    if graphs and not find_variants(graphs):
        suffixes = ", ".join(variant.suffix for variant in VARIANTS if variant.suffix)
        raise UnsupportedError(
            f"'{where}' contains {graphs[0]} and no set of graphs with known names: a model of one graph is named "
            f"model.onnx, or model with one of {suffixes} before .onnx"
        )


def _graphs(there: Collection[str], folder: str, suffix: str, family: str | None) -> dict[str, str]:
    rows = FAMILIES.values() if family is None else [FAMILIES[family]]
    for stems in (stems for row in rows for stems in row.folders):
        files = {name: f"{folder}{stem}{suffix}.onnx" for name, stem in stems.items()}
        if set(files.values()) <= set(there):
            return files
    return {}


def is_compiled(names: Collection[str], profile: str | None, *, allow_pickle: bool = False) -> bool:
    """Tell whether a folder with these files runs from its graphs instead of being compiled.

    It does if it has graphs, and either no weights to compile or the profile named is one of its variants.
    """
    variants = find_variants(names)
    return bool(variants) and (profile in variants or not has_weights(names, allow_pickle=allow_pickle))


def choose_variant(where: str, names: Sequence[str], profile: str | None) -> str:
    """Return the variant that is asked for, or fp32, or the only one; raise UsageError for none of `names`."""
    if profile in names:
        return str(profile)
    if profile not in {None, "auto"}:
        raise UsageError(
            f"no profile '{profile}' in '{where}', which is an ONNX folder (there: {', '.join(names)}): "
            f"pass profile='{names[0]}', or compile its checkpoint: vitrify export MODEL"
        )
    if PLAIN not in names and len(names) > 1:
        raise UsageError(
            f"'{where}' contains {', '.join(names)}, and which one to run is ambiguous: pass one of them as profile=, "
            f"such as profile='{names[0]}'"
        )
    return PLAIN if PLAIN in names else names[0]


def files_of(names: Iterable[str], graphs: Mapping[str, str]) -> list[str]:
    """Return these graphs' files with those that hold their weights, by name, of all the `names` there are."""
    beside = tuple(f"{graph}{ending}" for graph in graphs.values() for ending in ("_data", ".data"))
    return sorted({*graphs.values(), *(name for name in names if name.startswith(beside))})
