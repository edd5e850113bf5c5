"""`export_bundle`: checkpoint -> graph -> passes -> variants -> parity gate -> bundle. It only composes."""

import dataclasses
import json
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..profiles import Profile
from ..runtime.bundle.files import write_synced
from ..runtime.bundle.manifest import PARITY_REPORT, REPORTS, Build, Bundle, Provenance, write_manifest
from ..runtime.errors import ExportError, ParityError, UnsupportedError, UsageError
from ..runtime.graphs.signature import LOGITS, Axis
from ..runtime.publishing.card import write_card
from ..runtime.sources.request import Request
from ..runtime.steps import Progress, Steps
from ..runtime.tasks import tasks_of
from ..runtime.verification.parity import Case, summary
from ..runtime.verification.quality import QualityGate, likeliest
from ..runtime.verification.references import References, write_references
from ..runtime.verification.replay import replayed
from ..version import __version__
from .checkpoint.fetched import fetch
from .checkpoint.opened import Checkpoint, open_checkpoint
from .checkpoint.sentences import Wish
from .engine import DEFAULT_BUILDER, find_builder
from .engine.build import Order, build_engines
from .families import export_family
from .files import write_documents, write_files
from .precision.calibration_inputs import CalibrationInputs, read_calibration
from .precision.targets import fitting, load_targets, require_calibrated
from .precision.variants import Variants, write_variants
from .staging import staged
from .tracing.stacks import find_stacks
from .verification.end_to_end import compare_pipelines
from .verification.gate import Findings, Subject, examine
from .verification.leaving_out import advice
from .verification.plan import Plan
from .verification.untrained import with_trained_outputs

PARITY_BYTES = 5 * 10**6
PASSES_REPORT = "passes.json"
TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "tokenizers")
# As measured on BERT-base and SmolLM2.
_STEPS = {
    "reading the checkpoint": 2.0,
    "writing the processor": 1.0,
    "tracing the graph": 6.0,
    "comparing with PyTorch": 6.0,
}


@dataclass(frozen=True)
class ExportReport:
    """What an export did: `profiles` maps each profile to its parity summary, `seconds` each step to its duration.

    `left_out` says of each profile that "auto" would have taken why this model has none, `passes` of each graph's file
    which passes it went through, in order.
    """

    folder: Path
    bundle: Bundle
    profiles: Mapping[str, Mapping[str, Any]]
    seconds: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    passes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every profile kept its tolerance."""
        return all(item["passed"] for item in self.profiles.values())


def export_bundle(
    model: Any,
    folder: str | Path,
    *,
    task: str | None = None,
    profiles: Sequence[str | Path] = ("cpu-fp32",),
    tokenizer: Any = None,
    image_processor: Any = None,
    revision: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    allow_mismatch: bool = False,
    force: bool = False,
    source: Provenance | None = None,
    sms: Sequence[str] | None = (),
    builder: str | None = None,
    calibration: str | Path | None = None,
    pooling: str | Sequence[str] = (),
    normalize: bool = False,
    ignore_modules: bool = False,
    route: str | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Compile a checkpoint into a bundle, verify it against PyTorch, and return the report.

    Parameters
    ----------
    model
        A checkpoint's folder, a Hub id, or a transformers model object with its `tokenizer` or `image_processor`.
    folder
        Where the bundle goes; there whole or not at all.
    task
        Which head to export (`vitrify tasks`); by default the one in `config.architectures`.
    profiles
        Deployment targets (`vitrify profiles`), by name or as paths of TOML files; "auto" stands for all that this
        machine runs, but for those that this model cannot be or does not stay the same in.
    revision, token, local_files_only
        For a Hub id.
    trust_remote_code
        Run the checkpoint's own code while exporting; recorded in the bundle.
    allow_pickle
        Load pickled weights in a child process without network; recorded in the bundle.
    allow_mismatch
        Keep a bundle that fails the parity gate; recorded in the bundle.
    force
        Replace an existing bundle.
    source
        What to record as the bundle's origin, if it is not what `model` says.
    sms, builder
        For profiles of provider tensorrt: the compute capabilities that engines are built for, such as "89" (default:
        one engine for all; None: the graph alone, for `build_engines` elsewhere), and by what (default: tensorrt-rtx).
    calibration
        For profiles whose scales come from calibration: a file of texts, a line each, or images or recordings, a file
        or a folder (default: seeded inputs and, for models that read text, a text).
    pooling, normalize
        For text-embedding, of a checkpoint without modules.json: one or several of cls, max, mean,
        mean_sqrt_len_tokens, weightedmean and lasttoken, side by side (default: mean, lasttoken for a decoder), and
        whether its vectors are scaled to length 1.
    ignore_modules
        Leave out the modules of a sentence-transformers checkpoint that are not supported.
    route
        Of one with a Router whose routes have transformers of their own: the route to export.
    progress
        Called with a line for each step.

    Raises
    ------
    UsageError, UnsupportedError, IntegrityError, EnvironmentMissing
        The checkpoint, the task, a profile, the builder or the folder is not usable; the message says why.
    ExportError
        The model cannot be traced, or an engine not built.
    ParityError
        The graph fails the accuracy check; nothing is written.

    """
    wanted = [profiles] if isinstance(profiles, (str, Path)) else list(profiles)
    targets, optional = load_targets(wanted)
    if calibration is not None:
        require_calibrated(targets)
    modes = (pooling,) if isinstance(pooling, str) else tuple(pooling)
    sentences = Wish(modes, normalize=normalize, ignore_modules=ignore_modules, route=route)
    order = Order(sms or (), builder or DEFAULT_BUILDER)
    find_builder(order.builder, order.sms)
    with_engines = [target.name for target in targets if target.provider == "tensorrt" and sms is not None]
    if not with_engines and (given := [name for name, value in (("sm", sms), ("builder", builder)) if value]):
        raise UsageError(
            f"--{given[0]} has no effect without a profile of TensorRT, such as trt-fp16-latency: add that, or leave "
            f"--{given[0]} out"
        )
    if with_engines:
        order.check()  # before minutes are spent on a graph that no engine would be built from
    folder = Path(folder)
    weights = _weights(targets, with_engines=bool(with_engines), allow_mismatch=allow_mismatch)
    steps = _Steps(progress or (lambda _: None), weights)
    request = Request(model, revision, token, local_files_only, trust_remote_code, allow_pickle)
    with staged(folder, force=force) as out, tempfile.TemporaryDirectory(prefix="vitrify-") as scratch:
        with steps("reading the checkpoint"):
            found = fetch(request, Path(scratch), processor=tokenizer or image_processor)
            opened = open_checkpoint(found.folder, task=task, trust_remote_code=trust_remote_code, sentences=sentences)
            checkpoint = with_trained_outputs(opened, export_family(opened.head.family))
            targets = fitting(targets, checkpoint, optional)
            given = CalibrationInputs() if calibration is None else read_calibration(checkpoint, calibration)
            origin = dataclasses.replace(
                source or found.provenance,
                files=found.source_files() | ({"calibration": given.digest} if given.digest else {}),
                pickle=found.provenance.pickle,
                remote_code=trust_remote_code,
            )
        write_documents(found.documents(), out)
        findings, variants = _compile(
            checkpoint, out, origin, targets, given, steps, optional=optional, allow_mismatch=allow_mismatch
        )
        if with_engines:
            with steps("building engines"):
                build_engines(out, with_engines, order)
        write_card(Bundle.read(out))
    return ExportReport(folder, Bundle.read(folder), findings, steps.seconds, variants.left_out, variants.passes)


def _compile(
    checkpoint: Checkpoint,
    out: Path,
    origin: Provenance,
    targets: Sequence[Profile],
    given: CalibrationInputs,
    steps: "_Steps",
    *,
    optional: Collection[str],
    allow_mismatch: bool,
) -> tuple[dict[str, dict[str, Any]], Variants]:
    """Write everything of the bundle into `out`; return each profile's parity summary, and the graphs."""
    with steps("writing the processor"):
        write_files(checkpoint, out)
    plan, variants, findings = _first_that_passes(
        checkpoint, out, targets, given, steps, optional=optional, allow_mismatch=allow_mismatch
    )
    targets = variants.kept(targets)
    results = {name: summary(figures) for name, figures in findings.figures.items()}
    for target in targets:
        results[target.name]["emulated"] = variants.emulates(target)
        results[target.name] |= _quality(target, variants, plan)
    if not findings.kept:
        raise ExportError(f"no case of the parity grid fits {PARITY_BYTES} bytes: the model's outputs are too large")
    write_references(out, _references(checkpoint, plan, targets, findings))
    variants.drop_unused(targets)
    axes = dict(plan.axes)
    if "sequence" in axes:
        axes["sequence"] = dataclasses.replace(axes["sequence"], minimum=findings.minimum)
    bundle = _manifest(checkpoint, variants, origin, axes, targets, results)
    (out / REPORTS).mkdir()
    write_synced(out / REPORTS / PARITY_REPORT, json.dumps(results, indent=1) + "\n")
    write_synced(out / REPORTS / PASSES_REPORT, json.dumps(variants.passes, indent=1) + "\n")
    write_manifest(bundle, out)
    exact = next((target for target in targets if target.precision == "fp32"), None)
    if exact is not None and not allow_mismatch:
        limit = max(figure.limit for figure in findings.figures[exact.name])
        with steps("comparing pipelines"):
            compare_pipelines(checkpoint, out, profile=exact.name, tolerance=limit)
    return results, variants


def _first_that_passes(
    checkpoint: Checkpoint,
    out: Path,
    targets: Sequence[Profile],
    given: CalibrationInputs,
    steps: "_Steps",
    *,
    optional: Collection[str],
    allow_mismatch: bool,
) -> tuple[Plan, Variants, Findings]:
    """Trace and examine plan after plan; the last one's failure is the export's, but for that of optional profiles."""
    family = export_family(checkpoint.head.family)
    oracle = family.oracle(checkpoint)
    plans = [dataclasses.replace(plan, calibration=given.rows) for plan in family.plans(checkpoint, oracle)]
    while plans:
        plan = plans.pop(0)
        try:
            with steps("tracing the graph"):
                variants = write_variants(checkpoint, family, out, plan, targets, optional=optional)
            with steps("comparing with PyTorch"):
                subjects = _subjects(variants, plan, variants.kept(targets))
                findings = examine(plan, oracle, subjects, budget=PARITY_BYTES)
            if not findings.repeats:
                raise UnsupportedError(
                    f"{type(checkpoint.model).__name__} gives another answer when the same input comes again: its "
                    "forward is random or remembers earlier inputs, so there is nothing to compare a graph with"
                )
        except ExportError:
            if not plans:
                raise
            continue
        failed = {
            name: bad for name, figures in findings.figures.items() if (bad := [x for x in figures if not x.passed])
        }
        if _may_look_alike(checkpoint, plan, targets, failed):
            plans.insert(0, dataclasses.replace(plan, whole=True))
            continue
        if not failed or (not plans and allow_mismatch):
            return plan, variants, findings
        reasons = {
            name: f"the graph does not match {checkpoint.folder.name}: {'; '.join(map(str, figures[:3]))}"
            for name, figures in failed.items()
        }
        if failed.keys() <= set(optional):
            variants.left_out.update(reasons)
            for name in failed:
                del findings.figures[name]
            return plan, variants, findings
        if not plans:
            name, reason = next(iter(reasons.items()))
            way = advice(reasons, variants.kept(targets))
            ways = "; ".join(filter(None, ["Nothing was written", way, "--allow-mismatch keeps it"]))
            raise ParityError(f"profile {name}: {reason}. {ways}")
    raise AssertionError("plans_for yields at least one plan")


def _may_look_alike(checkpoint: Checkpoint, plan: Plan, targets: Sequence[Profile], failed: Collection[str]) -> bool:
    """Say whether a failure may come from layers that were taken for alike, and not from quantization."""
    exact = {target.name for target in targets if not target.is_converted} or {target.name for target in targets}
    return not plan.whole and not exact.isdisjoint(failed) and bool(find_stacks(checkpoint.model))


def _subjects(variants: Variants, plan: Plan, targets: Sequence[Profile]) -> dict[str, Subject]:
    return {
        target.name: Subject(
            replayed(variants.family.row, variants.models(target, plan.axes)),
            target.tolerance,
            recorded=target.is_lossy and not variants.emulates(target),
        )
        for target in targets
    }


def _quality(target: Profile, variants: Variants, plan: Plan) -> dict[str, Any]:
    """Return what the report says of low-bit weights: their gate, and what they did to the text's answers."""
    weights, quality = target.weights, variants.quality.get(target.name)
    if weights is None or quality is None or plan.text is None:
        return {}
    gate = QualityGate(weights.agreement, weights.divergence)
    return {"quality": gate.summary(quality, int(plan.text["chunks"].sum()))}


def _references(checkpoint: Checkpoint, plan: Plan, targets: Sequence[Profile], findings: Findings) -> References:
    """Return what the bundle will be verified by: PyTorch's outputs, and those of lossy graphs as they are now."""
    quality = []
    if plan.text is not None and any(target.weights is not None for target in targets):
        logits = export_family(checkpoint.head.family).oracle(checkpoint).case("text", plan.text).expected[LOGITS]
        quality = [Case("text", plan.text, likeliest(logits))]
    names = {target.name for target in targets}
    recorded = {name: cases for name, cases in findings.recorded.items() if name in names}
    return References(findings.kept, quality, recorded)


def _manifest(
    checkpoint: Checkpoint,
    variants: Variants,
    origin: Provenance,
    axes: Mapping[str, Axis],
    targets: Sequence[Profile],
    results: Mapping[str, Mapping[str, Any]],
) -> Bundle:
    return Bundle(
        head=checkpoint.head.name,
        tasks=tasks_of(checkpoint.head.name, checkpoint.kinds),
        architecture=type(checkpoint.model).__name__,
        model_type=checkpoint.config.model_type,
        family=variants.family.row.name,
        source=origin,
        axes=axes,
        graphs=variants.graphs(targets),
        builds={
            target.name: Build(
                target,
                variants.files(target),
                bool(results[target.name]["passed"]),
                variants.data(target),
                emulated=bool(results[target.name]["emulated"]),
            )
            for target in targets
        },
        tools={"vitrify": __version__, **{name: version(name).split("+")[0] for name in TOOLS}},
    )


def _weights(targets: Sequence[Profile], *, with_engines: bool, allow_mismatch: bool) -> dict[str, float]:
    """Return the steps of an export, with about how long each takes beside the others."""
    ends = {
        "comparing pipelines": not allow_mismatch and any(target.precision == "fp32" for target in targets),
        "building engines": with_engines,
    }
    return _STEPS | {name: 2.0 for name, is_done in ends.items() if is_done}


class _Steps:
    """Times the steps of an export and tells each one's name to whoever listens."""

    def __init__(self, progress: Progress, weights: Mapping[str, float]) -> None:
        self.seconds: dict[str, float] = {}
        self._told = Steps(progress, weights)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._told.begin(name)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + round(time.perf_counter() - start, 3)
