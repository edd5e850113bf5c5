"""Commands that build TensorRT engines of a bundle, or check that they build."""

from pathlib import Path
from typing import Annotated

import typer

from .app import EngineBuilder, EngineProfiles, Json, Memory, Shapes, Sm, Timeout, app
from .output import conclude, print_document, progress_shown


@app.command()
def build_engine(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = "tensorrt-rtx",
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    stripped: Annotated[
        bool, typer.Option("--stripped", help="Leave the weights out: the graph's are read when an engine is opened.")
    ] = False,
    force: Annotated[bool, typer.Option(help="Build engines anew that are there already.")] = False,
    ep_context: Annotated[
        bool, typer.Option(help="Write an ONNX graph around each, for ONNX Runtime's plugin.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build TensorRT engines of a bundle's graphs and add them to it; needs no GPU with tensorrt-rtx."""
    from ..export.engine.build import build_engines, read_order
    from ..export.engine.report import describe_reports

    order = read_order(
        sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory, stripped=stripped
    )
    with progress_shown(quiet=as_json) as progress:
        reports = build_engines(bundle, profile, order, force=force, ep_context=ep_context, progress=progress)
    print_document(*describe_reports(bundle, reports, done="built, in trt/"), as_json=as_json)


@app.command()
def check_engine(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    profile: EngineProfiles = None,
    sm: Sm = None,
    builder: EngineBuilder = "tensorrt-rtx",
    shapes: Shapes = None,
    timeout: Timeout = 1800.0,
    memory: Memory = None,
    once: Annotated[bool, typer.Option(help="Do not build twice to compare the bytes.")] = False,
    fail_if: Annotated[list[str] | None, typer.Option(help="A condition that fails the check: 'fused<1'.")] = None,
    as_json: Json = False,
) -> None:
    """Build engines, keep none, and report what was fused, in which types, how large; exit 3 if one fails."""
    from ..export.engine.build import check_engines, read_order, require_built
    from ..export.engine.report import describe_reports
    from ..runtime.proof.conditions import read_condition

    order = read_order(sm=sm, builder=builder, shapes=shapes or [], timeout=timeout, memory_gb=memory)
    conditions = [read_condition(text) for text in fail_if or []]
    with progress_shown(quiet=as_json) as progress:
        reports = check_engines(bundle, profile, order, twice=not once, progress=progress)
    described = describe_reports(bundle, reports, done="attempted")
    conclude(*described, lambda: require_built(reports, conditions), as_json=as_json)
