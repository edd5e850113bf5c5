"""The graph files of a bundle: the portable ones as they were traced, and each profile's own beside them."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir

from ...profiles import Profile
from ...runtime.errors import EnvironmentMissing, ExportError, ParityError, UnsupportedError
from ...runtime.graphs.signature import Axis, Graph
from ...runtime.machine import this_machine
from ...runtime.numerics import Arrays
from ...runtime.selection.profiles import check_machine
from ...runtime.sessions import open_session
from ...runtime.sessions.model import Model
from ...runtime.verification.quality import Quality
from ..checkpoint.opened import Checkpoint
from ..families import Family
from ..passes import lists
from ..passes.precision.to_half import DTYPES, emulate
from ..passes.running import Passes, passes_of, run_passes
from ..saving import read_tensors, save_graph, save_graphs, save_quantized
from ..verification.leaving_out import advice
from ..verification.plan import Plan
from .calibration import Seen, calibrate
from .exact_weights import exact_weights
from .weight_only import quantize

# What emulates a graph computes QuantizeLinear pairs as they are written, in no fused kernel.
_EXACTLY = {"session.disable_quant_qdq": "1"}


@dataclass(frozen=True)
class Variants:
    """What was written into the bundle's `folder`: `names` are the graphs that the family could make.

    `quality` says of each profile with low-bit weights what they did to its answers, `left_out` of each that was
    not made or not kept why, `passes` of each file which passes its graph went through.
    """

    family: Family
    folder: Path
    names: tuple[str, ...]
    quality: dict[str, Quality] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    passes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def kept(self, targets: Sequence[Profile]) -> list[Profile]:
        """Return the profiles that are not left out."""
        return [target for target in targets if target.name not in self.left_out]

    def files(self, target: Profile) -> dict[str, str]:
        """Return the files of a profile by the graph's name.

        A converted profile, and one for engines, has the graphs that the runtime runs; others those for others as well.
        """
        kept = [name for name in self.names if self.family.only.get(name, target.provider) == target.provider]
        if target.is_converted or target.provider == "tensorrt":
            kept = list(self.family.row.sets_among(kept)[0])
        return {name: self.family.file(name, suffix=target.graph_suffix) for name in kept}

    def data(self, target: Profile) -> dict[str, str]:
        """Return the weights file of each graph of a profile that uses another graph's."""
        if target.is_converted:
            return {}
        owners = {name: self.family.shared[name] for name in self.files(target) if name in self.family.shared}
        return {name: f"{self.family.file(owner, suffix=target.graph_suffix)}_data" for name, owner in owners.items()}

    def models(self, target: Profile, axes: Mapping[str, Axis]) -> dict[str, Model]:
        """Open a profile's graphs as the runtime does, or what emulates them."""
        opened = {}
        for name, file in self.files(target).items():
            path, provider = self.folder / file, target.provider
            if self.emulates(target):
                path, provider = _emulation(path), "cpu"
            options = target.options if provider == target.provider else _EXACTLY
            opened[name] = Model(open_session(path, provider=provider, options=options), axes)
        return opened

    @staticmethod
    def emulates(target: Profile) -> bool:
        """Whether a profile's graphs are compared on the CPU: where its device is missing, or no engine is there yet.

        They are in float32 then and round as the half-precision graphs do.
        """
        if target.provider == "tensorrt" or not target.is_emulable:
            return target.is_emulable
        try:
            check_machine(target, this_machine())
        except EnvironmentMissing:
            return True
        return False

    def graphs(self, targets: Sequence[Profile]) -> dict[str, Graph]:
        """Return the inputs and outputs of every graph; variants of one graph have the same, but for caches' dtypes."""
        files = {name: file for target in reversed(targets) for name, file in self.files(target).items()}
        return {name: read_tensors(self.folder / files[name]) for name in self.names if name in files}

    def drop_unused(self, targets: Sequence[Profile]) -> None:
        """Delete the files that no profile needs, and what is known of them."""
        used = {file for target in targets for file in self.files(target).values()}
        used |= {f"{file}_data" for file in used} | {file for target in targets for file in self.data(target).values()}
        for path in (self.folder / "onnx").iterdir():
            if f"onnx/{path.name}" not in used:
                path.unlink()
                self.passes.pop(f"onnx/{path.name}", None)


def write_variants(
    checkpoint: Checkpoint,
    family: Family,
    folder: Path,
    plan: Plan,
    targets: Sequence[Profile],
    *,
    optional: Collection[str] = (),
) -> Variants:
    """Trace the portable graphs and write them, then what each quantized profile needs.

    Raises ExportError, and what a profile's graphs are refused for unless it is among the `optional` ones.
    """
    shutil.rmtree(folder / "onnx", ignore_errors=True)
    graphs = family.trace(
        checkpoint,
        plan,
        opset=min(target.opset for target in targets),
        ir_version=min(target.ir_version for target in targets),
    )
    (folder / "onnx").mkdir()
    save_graphs(graphs, {name: folder / family.file(name, suffix="") for name in graphs}, shared=family.shared)
    passes = {family.file(name, suffix=""): passes_of(graph) for name, graph in graphs.items()}
    variants = Variants(family, folder, tuple(graphs), passes=passes)
    calibrated = _Calibration(checkpoint, plan, variants)
    for target in targets:
        try:
            _write_variant(checkpoint, variants, target, calibrated, plan.text)
        except (ExportError, ParityError, UnsupportedError) as error:
            if target.name not in optional:
                if way := advice([target.name], targets):
                    raise type(error)(f"profile {target.name}: {error}. Nothing was written; {way}") from error
                raise
            variants.left_out[target.name] = str(error)
    return variants


def _write_variant(
    checkpoint: Checkpoint, variants: Variants, target: Profile, calibrated: "_Calibration", text: Arrays | None
) -> None:
    family, folder = variants.family, variants.folder
    for name, file in variants.files(target).items():
        portable = family.file(name, suffix="")
        source, path = folder / portable, folder / file
        if target.weights is not None:
            assert text is not None  # a decoder's plan has one
            made = quantize(text, family.name, name, source, path, target)
            variants.quality[target.name], passes = made.quality, made.passes
        elif path.exists():
            continue  # the portable graph, or that of another profile with the same suffix
        elif target.quantization is not None and target.quantization.mode == "dynamic":
            graph = run_passes(onnx_ir.load(str(source)), lists.dynamic(target), name=name)
            save_quantized(graph, path)
            passes = passes_of(graph)
        else:
            seen = calibrated(target)[name] if target.quantization is not None else None
            graph = onnx_ir.load(str(source))
            run_passes(graph, _converting(checkpoint, graph, target, seen), name=name)
            save_graph(graph, path)
            passes = passes_of(graph)
        variants.passes[file] = (*variants.passes[portable], *passes)


def _converting(checkpoint: Checkpoint, graph: onnx_ir.Model, target: Profile, seen: Seen | None) -> Passes:
    """Return the passes for layers quantized that calibration has `seen`, and half precision, as the profile asks."""
    exact = frozenset[str]()
    if target.half is not None:
        exact = exact_weights(checkpoint.model, graph.graph, DTYPES[target.half_precision])
    return lists.converted(target, seen=seen, exact=exact)


class _Calibration:
    """Calibrates when a profile first asks, once for all: int8 and fp8 divide the same magnitudes."""

    def __init__(self, checkpoint: Checkpoint, plan: Plan, variants: Variants) -> None:
        self._checkpoint, self._plan, self._variants = checkpoint, plan, variants
        self._seen: dict[str, Seen] = {}

    def __call__(self, target: Profile) -> dict[str, Seen]:
        if not self._seen:
            family, folder = self._variants.family, self._variants.folder
            graphs = {name: folder / family.file(name, suffix="") for name in self._variants.files(target)}
            self._seen = calibrate(self._checkpoint, self._plan, family.name, graphs, self._plan.axes)
        return self._seen


def _emulation(path: Path) -> Path:
    """Write what emulates a half-precision graph beside it, under a name that no profile has."""
    graph, emulated = onnx_ir.load(str(path)), path.with_name(f"{path.stem}.emulated.onnx")
    run_passes(graph, (emulate,), name=path.stem)
    save_graph(graph, emulated)
    return emulated
