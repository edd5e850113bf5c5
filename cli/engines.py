"""Commands that build TensorRT engines of a bundle, or check that they build."""

from typing import Annotated

import typer

from .app import ENGINES, BundleFolder, EngineBuilder, EngineProfiles, Json, Memory, Shapes, Sm, Timeout, command
from .output import conclude, print_document, progress_shown


@command(ENGINES, example="vitrify build-engine minilm --profile trt-fp16 --sm 86,89")
def build_engine(
    bundle: BundleFolder,
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = None,
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    stripped: Annotated[
        bool, typer.Option("--stripped", help="Build weight-stripped engines (refit from the ONNX file at load).")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Rebuild existing engines.")] = False,
    ep_context: Annotated[
        bool, typer.Option("--ep-context", help="Also write an EPContext ONNX model for each (ONNX Runtime plugin).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build TensorRT engines for a bundle and add them to it (tensorrt-rtx needs no GPU)."""
    from ..export.engine.build import build_engines, read_order
    from ..export.engine.report import describe_reports

    order = read_order(
        sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory, stripped=stripped
    )
    with progress_shown(quiet=as_json) as progress:
        reports = build_engines(bundle, profile, order, force=force, ep_context=ep_context, progress=progress)
    print_document(*describe_reports(bundle, reports, done="built, in trt/"), as_json=as_json)


@command(ENGINES, example="vitrify check-engine minilm --fail-if 'fused<1'")
def check_engine(
    bundle: BundleFolder,
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = None,
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    once: Annotated[
        bool, typer.Option("--once", help="Skip the reproducibility check (build once, not twice).")
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Condition that fails the check, e.g. 'fused<1'; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build engines without keeping them; report fusions, precisions and sizes. Exit code 3 if one fails."""
    from ..export.engine.build import check_engines, read_order, require_built
    from ..export.engine.report import MEASURES, describe_reports
    from ..runtime.verification.conditions import read_conditions

    order = read_order(sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory)
    conditions = read_conditions(fail_if or [], MEASURES)
    with progress_shown(quiet=as_json) as progress:
        reports = check_engines(bundle, profile, order, twice=not once, progress=progress)
    described = describe_reports(bundle, reports, done="attempted")
    conclude(*described, lambda: require_built(reports, conditions), as_json=as_json)
