"""The graph files of a bundle: the portable ones as they were traced, and each profile's own beside them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..profiles import Profile
from ..runtime.bundle import Axis, Graph
from ..runtime.model import Model
from ..runtime.sessions import open_session
from ..runtime.ways import ways_to_run
from .checkpoint import Checkpoint
from .families import Family
from .passes.quantize import quantize_dynamic
from .plan import Plan
from .quality import Quality
from .saving import save_graphs
from .weights import quantize


@dataclass(frozen=True)
class Variants:
    """What was written into the bundle's `folder`: `names` are the graphs that the family could make.

    `quality` says of each profile with weights in few bits what they did to its answers.
    """

    family: Family
    folder: Path
    names: tuple[str, ...]
    quality: dict[str, Quality] = field(default_factory=dict)

    def files(self, target: Profile) -> dict[str, str]:
        """Return the files of a profile by the graph's name.

        A quantized profile has the graphs that the runtime runs; one in float32 those for others as well.
        """
        kept = [name for name in self.names if self.family.only.get(name, target.provider) == target.provider]
        if target.is_quantized:
            kept = list(ways_to_run(self.family.name, kept)[0])
        return {name: self.family.file(name, suffix=target.graph_suffix) for name in kept}

    def data(self, target: Profile) -> dict[str, str]:
        """Return the weights file of each graph of a profile that uses another graph's."""
        if target.is_quantized:
            return {}
        owners = {name: self.family.shared[name] for name in self.files(target) if name in self.family.shared}
        return {name: f"{self.family.file(owner, suffix=target.graph_suffix)}_data" for name, owner in owners.items()}

    def models(self, target: Profile, axes: Mapping[str, Axis]) -> dict[str, Model]:
        """Open a profile's graphs as the runtime does."""
        return {
            name: Model(open_session(self.folder / file, provider=target.provider, options=target.options), axes)
            for name, file in self.files(target).items()
        }

    def graphs(self, targets: Sequence[Profile]) -> dict[str, Graph]:
        """Return the inputs and outputs of every graph; variants of one graph have the same."""
        files = {name: file for target in reversed(targets) for name, file in self.files(target).items()}
        found = {}
        for name in self.names:
            if name in files:
                with open_session(self.folder / files[name], provider="cpu", options={}) as session:
                    found[name] = Graph(session.inputs, session.outputs)
        return found

    def drop_unused(self, targets: Sequence[Profile]) -> None:
        """Delete the files that no profile needs."""
        used = {file for target in targets for file in self.files(target).values()}
        used |= {f"{file}_data" for file in used} | {file for target in targets for file in self.data(target).values()}
        for path in (self.folder / "onnx").iterdir():
            if f"onnx/{path.name}" not in used:
                path.unlink()


def write_variants(
    checkpoint: Checkpoint, family: Family, folder: Path, plan: Plan, targets: Sequence[Profile]
) -> Variants:
    """Trace the portable graphs and write them, then what each quantized profile needs; raise ExportError."""
    shutil.rmtree(folder / "onnx", ignore_errors=True)
    graphs = family.trace(
        checkpoint,
        plan,
        opset=min(target.opset for target in targets),
        ir_version=min(target.ir_version for target in targets),
    )
    (folder / "onnx").mkdir()
    save_graphs(graphs, {name: folder / family.file(name, suffix="") for name in graphs}, shared=family.shared)
    variants = Variants(family, folder, tuple(graphs))
    for target in targets:
        for name, file in variants.files(target).items():
            source = folder / family.file(name, suffix="")
            if target.quantization is not None and not (folder / file).exists():
                quantize_dynamic(
                    source,
                    folder / file,
                    per_channel=target.quantization.per_channel,
                    embeddings=target.quantization.embeddings,
                )
            if target.weights is not None:
                variants.quality[target.name] = quantize(checkpoint, family.name, name, source, folder / file, target)
    return variants
