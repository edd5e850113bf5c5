"""Where a model will run: deployment targets as data, and their schema; standard library only.

A profile is a TOML file. The presets lie in this folder; a path to any other `.toml` file works as well.
"""

import dataclasses
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .options import check_options
from .rules import ProfileError, Rule, check, number, of, one_of, text, whole

PRECISIONS = ("fp32", "bf16", "int8", "fp16", "w8", "w4", "fp8")
PROVIDERS = ("cpu", "openvino", "cuda", "tensorrt", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx")
# The axes whose sizes a profile may bound; a test compares them with those that the families name.
AXES = ("batch", "sequence", "past", "encoder_sequence", "height", "width", "samples", "frames")
_FOLDER = Path(__file__).parent
# "auto" stands for the fastest profile, and names none.
_NAME = re.compile(r"(?!auto$)[a-z0-9][a-z0-9._-]{0,63}")
_SUFFIX = re.compile(r"(_[a-z0-9]{1,32}){0,4}")
_RANGE = re.compile(r"(~?)(\d{1,9}):(\d{1,9}):(\d{1,9})")
_LARGEST_SIZE = 2**30


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from PyTorch's float32 output `r`: `|o - r| <= max(absolute, relative * max|r|)`.

    `agreement` is the least share of decisions (the largest logit of a row) that must be PyTorch's. `identity` is for
    lossy profiles: how far outputs may be from those of the same graph at the export, on another CPU (root mean square,
    over how much the outputs differ between positions), or farther where rounding took the graph far from PyTorch.
    """

    absolute: float
    relative: float = 0.0
    agreement: float = 1.0
    identity: float = 0.25

    def __post_init__(self) -> None:
        check("tolerance", self, _TOLERANCE_RULES)

    def limit(self, scale: float) -> float:
        """Return the largest difference allowed in an output whose largest magnitude is `scale`."""
        return max(self.absolute, self.relative * scale)


@dataclass(frozen=True)
class Quantization:
    """How layers become int8 or fp8.

    `mode` "dynamic": activations unsigned and scaled at run time, weights signed; `per_channel` scales every column of
    a weight by itself, `embeddings` quantizes lookup tables too. "static": QuantizeLinear pairs, with scales from
    calibration, which is what TensorRT and OpenVINO compile; `symmetric`, with activations signed and zero points of 0,
    is all that TensorRT takes. Else those that this rounds too much are unsigned.
    """

    mode: str = "dynamic"
    per_channel: bool = True
    embeddings: bool = False
    symmetric: bool = True

    def __post_init__(self) -> None:
        check("quantization", self, _QUANTIZATION_RULES)


@dataclass(frozen=True)
class WeightQuantization:
    """Weight-only quantization: low-bit weights, float32 activations; for decoder models.

    `bits` and, for the head, `head_bits` are 4 or 8; `block_size` weights share a scale. `accuracy_level` 4 multiplies
    in int8, 0 in float32. `embeddings` quantizes lookup tables too. At least `agreement` of the most likely tokens must
    be PyTorch's over a text, and the mean KL divergence at most `divergence` nats; layers that break it get more bits.
    """

    bits: int
    block_size: int = 32
    accuracy_level: int = 4
    head_bits: int | None = None
    embeddings: bool = True
    symmetric: bool = True
    agreement: float = 0.0
    divergence: float = 1e3

    def __post_init__(self) -> None:
        check("weights", self, _WEIGHT_RULES)


@dataclass(frozen=True)
class Half:
    """How a graph becomes float16 or bfloat16: operators of the types in `keep` stay float32, beside statistics."""

    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check("half", self, _HALF_RULES)


@dataclass(frozen=True)
class Range:
    """The sizes of an axis that an engine is built for, and the one it is tuned to.

    Written `"1:128:512"` or, where it shall shrink to what the model takes, `"~1:128:512"`.
    """

    minimum: int
    optimum: int
    maximum: int
    shrinks: bool = False

    def __post_init__(self) -> None:
        sizes = (self.minimum, self.optimum, self.maximum)
        ordered = all(type(size) is int for size in sizes) and list(sizes) == sorted(sizes)
        if not ordered or not 0 <= self.minimum <= self.maximum <= _LARGEST_SIZE or not isinstance(self.shrinks, bool):
            raise ProfileError(f"range {self}: expected 0 <= minimum <= optimum <= maximum <= {_LARGEST_SIZE}")

    def __str__(self) -> str:
        return f"{'~' if self.shrinks else ''}{self.minimum}:{self.optimum}:{self.maximum}"

    @classmethod
    def read(cls, text: object) -> Self:
        """Return the range that a text says; raise ProfileError if it says none."""
        found = _RANGE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ProfileError(
                f"range: got {reprlib.repr(text)}, expected minimum:optimum:maximum, such as '1:128:512'"
            )
        mark, *sizes = found.groups()
        return cls(*map(int, sizes), shrinks=bool(mark))


@dataclass(frozen=True)
class Profile:
    """A deployment target.

    Attributes
    ----------
    name, description
        The user's word, and one line for `vitrify profiles`.
    provider, precision
        What runs the graph (`PROVIDERS`), and in which numbers (`PRECISIONS`).
    opset, ir_version
        The newest standard operators and file format that a graph for it may use.
    tolerance
        What `verify` allows between it and PyTorch in float32.
    requires
        Sets of CPU features: one of them must be there in full. Empty: any CPU will do.
    options
        What the provider is given, of what `options.OPTIONS` allows.
    quantization
        Present exactly if `precision` is int8 or fp8.
    weights
        Present exactly if `precision` is w8 or w4.
    half
        Present exactly if its graphs are stored in the half precision that `precision` names, float16 for int8 and
        fp8 on TensorRT.
    graph_suffix
        Names the graph's file: `onnx/model{suffix}.onnx`. Profiles of one suffix share a graph.
    shape_ranges
        For engines: named sets of the sizes of named axes (TensorRT calls each an optimization profile). A set that
        names `past` is for graphs with a cache, one that does not for those without.

    """

    name: str
    description: str
    provider: str
    precision: str
    opset: int
    ir_version: int
    tolerance: Tolerance
    requires: tuple[tuple[str, ...], ...] = ()
    options: Mapping[str, str | int | bool] = field(default_factory=dict)
    quantization: Quantization | None = None
    weights: WeightQuantization | None = None
    half: Half | None = None
    graph_suffix: str = ""
    shape_ranges: Mapping[str, Mapping[str, Range]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(f"profile {reprlib.repr(self.name)}", self, _PROFILE_RULES)
        check_options(f"profile {self.name!r}", self.provider, self.options)
        on_tensorrt = self.provider == "tensorrt"
        # OpenVINO computes in bfloat16 what is stored in float32.
        halves = () if self.provider == "openvino" else ("fp16", "bf16", *(("int8", "fp8") if on_tensorrt else ()))
        for table, value, precisions in (
            ("quantization", self.quantization, ("int8", *(("fp8",) if on_tensorrt else ()))),
            ("weights", self.weights, ("w8", "w4")),
            ("half", self.half, halves),
        ):
            if (value is not None) != (self.precision in precisions):
                raise ProfileError(
                    f"profile '{self.name}': got precision '{self.precision}' on '{self.provider}' "
                    f"{'with' if value else 'without'} [{table}], which belongs to "
                    f"{' and '.join(precisions) or 'other providers'}"
                )
        if self.is_converted and not self.graph_suffix:
            raise ProfileError(f"profile '{self.name}': 'graph_suffix' is '', which names the graph in float32")
        mode = "static" if self.provider in {"tensorrt", "openvino"} else "dynamic"
        if self.quantization is not None and self.quantization.mode != mode:
            raise ProfileError(
                f"profile '{self.name}': 'mode' is '{self.quantization.mode}' on '{self.provider}', expected "
                f"'{mode}' there"
            )
        if on_tensorrt and self.quantization is not None and not self.quantization.symmetric:
            raise ProfileError(
                f"profile '{self.name}': 'symmetric' is False, and TensorRT does not support zero points"
            )
        if bool(self.shape_ranges) != on_tensorrt:
            raise ProfileError(
                f"profile '{self.name}': provider '{self.provider}' {'with' if self.shape_ranges else 'without'} "
                "[shape_ranges], which belongs to tensorrt and only to it"
            )

    @property
    def is_emulable(self) -> bool:
        """Whether its graphs can be verified on a CPU where its device is missing."""
        return self.half is not None or self.provider == "tensorrt"

    @property
    def is_lossy(self) -> bool:
        """Whether it rounds more than float32 does, in what it stores or in what it computes."""
        return self.precision != "fp32"

    @property
    def half_precision(self) -> str:
        """The half precision of a graph that has one, "fp16" or "bf16"."""
        return "bf16" if self.precision == "bf16" else "fp16"

    @property
    def is_converted(self) -> bool:
        """Whether its graphs hold other numbers than the portable ones, which are the checkpoint's."""
        return self.quantization is not None or self.weights is not None or self.half is not None

    @property
    def mixes_rows(self) -> bool:
        """Whether a row's result depends on what shares its batch: activations are scaled by a run's largest value."""
        made_elsewhere = self.quantization is None and self.precision == "int8"
        return made_elsewhere or (self.quantization is not None and self.quantization.mode == "dynamic")

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Return the profile that TOML or JSON describes; raise ProfileError on an unknown, missing or bad key."""
        what = f"profile {reprlib.repr(content.get('name', '?'))}"
        values = dict(content)
        for key, nested in (
            ("tolerance", Tolerance),
            ("quantization", Quantization),
            ("weights", WeightQuantization),
            ("half", Half),
        ):
            if isinstance(values.get(key), Mapping):
                values[key] = _made(nested, _tuples(values[key]), what=f"{what}, [{key}]")
        if "requires" in values:
            values["requires"] = _tuples(values["requires"])
        if "shape_ranges" in values:
            values["shape_ranges"] = _ranges(values["shape_ranges"], what=what)
        return _made(cls, values, what=what)


def profile_names() -> list[str]:
    """Return the presets' names, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read a preset by name, or a file by its path, which ends in `.toml`; raise ProfileError with a sentence."""
    import tomllib

    path = Path(name_or_path)
    if path.suffix != ".toml":
        names = profile_names()
        if str(name_or_path) not in names:
            raise ProfileError(
                f"profile: got '{name_or_path}', expected one of {', '.join(names)}, or a path to a .toml file"
            )
        path = _FOLDER / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"profile: got '{path}', which cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ProfileError(f"profile '{path}' is not TOML: {error}") from error
    return Profile.from_dict({"name": path.stem, **content})


def _made(cls: Any, values: Mapping[str, Any], *, what: str) -> Any:
    fields = {item.name: item for item in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ProfileError(f"{what}: unknown key '{unknown[0]}' (known: {', '.join(fields)})")
    needed = [
        name
        for name, item in fields.items()
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ProfileError(f"{what}: key '{missing[0]}' is missing (needed: {', '.join(needed)})")
    return cls(**values)


def _ranges(value: Any, *, what: str) -> dict[str, dict[str, Range]]:
    if not isinstance(value, Mapping) or not all(isinstance(axes, Mapping) and axes for axes in value.values()):
        raise ProfileError(
            f"{what}: 'shape_ranges' is {reprlib.repr(value)}, expected tables such as [shape_ranges.decode]"
        )
    for name, axes in value.items():
        if unknown := sorted(set(axes) - set(AXES)):
            raise ProfileError(
                f"{what}, [shape_ranges.{name}]: no axis is called '{unknown[0]}' (known: {', '.join(AXES)})"
            )
    return {
        name: {axis: _range(item, what=f"{what}, [shape_ranges.{name}], '{axis}'") for axis, item in axes.items()}
        for name, axes in value.items()
    }


def _range(item: Any, *, what: str) -> Range:
    """Return a range as Python, JSON or TOML say it."""
    if isinstance(item, Range):
        return item
    try:
        return _made(Range, item, what="range") if isinstance(item, Mapping) else Range.read(item)
    except ProfileError as error:
        raise ProfileError(f"{what}: {error}") from error


def _tuples(value: Any, levels: int = 3) -> Any:
    """Return the lists of a value as tuples, those of the first levels: a rule refuses what lies deeper."""
    if not levels:
        return value
    if isinstance(value, Mapping):
        return {key: _tuples(item, levels - 1) for key, item in value.items()}
    return tuple(_tuples(item, levels - 1) for item in value) if isinstance(value, (list, tuple)) else value


def _is_feature_sets(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(names, tuple) and names and all(isinstance(name, str) for name in names) for names in value
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, (str, int)) for item in value.values())


_BOOL: Rule = of(bool, "true or false")
_QUANTIZATION_RULES: Mapping[str, Rule] = {
    "mode": one_of("dynamic", "static"),
    "per_channel": _BOOL,
    "embeddings": _BOOL,
    "symmetric": _BOOL,
}
_HALF_RULES: Mapping[str, Rule] = {
    "keep": (
        lambda value: isinstance(value, tuple) and all(isinstance(name, str) for name in value),
        'a list of operator types, such as ["Softmax"]',
    ),
}
_WEIGHT_RULES: Mapping[str, Rule] = {
    "bits": one_of(4, 8),
    "block_size": one_of(32, 64, 128),
    "accuracy_level": one_of(0, 1, 4),
    "head_bits": one_of(4, 8, None),
    "embeddings": _BOOL,
    "symmetric": _BOOL,
    "agreement": number(1.0),
    "divergence": number(1e3),
}
_TOLERANCE_RULES: Mapping[str, Rule] = {
    "absolute": number(1e3),
    "relative": number(1.0),
    "agreement": number(1.0),
    "identity": number(0.9),  # outputs that are the same everywhere are 1 away
}
_PROFILE_RULES: Mapping[str, Rule] = {
    "name": text(_NAME, "at most 64 lower-case letters, digits, '.', '-' and '_', but not 'auto'"),
    "description": of(str, "a sentence"),
    "provider": one_of(*PROVIDERS),
    "precision": one_of(*PRECISIONS),
    "opset": whole(18, 24),  # whose `Attention` is the newest that ONNX Runtime 1.32 knows
    "ir_version": whole(8, 14),
    "tolerance": of(Tolerance, "a table [tolerance]"),
    "requires": (_is_feature_sets, 'a list of lists of CPU features, such as [["amx_bf16"], ["avx512_bf16"]]'),
    "options": (_is_options, "a table of texts, whole numbers and booleans"),
    "quantization": of((Quantization, type(None)), "a table [quantization]"),
    "weights": of((WeightQuantization, type(None)), "a table [weights]"),
    "graph_suffix": text(_SUFFIX, "nothing, or words that each begin with '_', such as '_int8'"),
    "half": of((Half, type(None)), "a table [half]"),
}
