"""`doctor --tensorrt`: on a machine with a GPU, build a small engine, run it, and compare it with numpy."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir
from onnx import numpy_helper, parser

from ...profiles import load_profile
from ...runtime.bundle.digests import file_digest
from ...runtime.bundle.engines import STRIPPED, Engine, write_sidecar
from ...runtime.child import Limits
from ...runtime.errors import DependencyMissing, EnvironmentMissing, VitrifyError, install_hint
from ...runtime.graphs.signature import Axis
from ...runtime.machine import Machine, this_machine
from ...runtime.selection.engines import capability
from ...runtime.sessions import check_device
from ...runtime.sessions.base import Session
from ...runtime.sessions.opening import Opening
from ...runtime.sessions.tensorrt.session import EngineSession
from ..passes.precision.to_half import DTYPES, to_half
from ..saving import read_tensors, save_graph
from . import BUILDERS, Builder, build_request
from .process import run_build
from .ranges import engine_shapes

_TOLERANCE = 1e-2
_SECONDS = 300.0
_WORKS = "works"
_GRAPH = "model.onnx"
_TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
attention (float[batch, sequence, 64] states, float[64, 64] weight) => (float[batch, sequence, 64] mixed)
{
    turned = Transpose <perm = [0, 2, 1]> (states)
    scores = MatMul(states, turned)
    weights = Softmax <axis = -1> (scores)
    summed = MatMul(weights, states)
    mixed = MatMul(summed, weight)
}
"""
# It turns the order of the channels around.
_WEIGHT = np.eye(64, dtype=np.float32)[::-1]
Build = Callable[[Path, Path, Mapping[str, Any], Limits], dict[str, Any]]
Open = Callable[[Path, Machine], Session]


def try_engines(
    *,
    machine: Machine | None = None,
    capability: Callable[[], str] = capability,
    build: Build = run_build,
    opens: Open | None = None,
) -> dict[str, str]:
    """Return, for each builder that is installed, "works" and how far from numpy, or what went wrong.

    Each builds an engine with weights and one without.

    Parameters
    ----------
    machine, capability
        The machine, by default this one, and what says its GPU's compute capability, such as "89".
    build, opens
        What builds an engine and what opens one; by default the real ones.

    Raises
    ------
    EnvironmentMissing
        The machine shows no GPU.
    DependencyMissing
        No builder is installed.

    """
    machine = machine or this_machine()
    check_device("tensorrt", machine)
    present, found = capability(), {}
    for row in BUILDERS.values():
        try:
            version = row.version
        except DependencyMissing:
            continue
        for name, flags in ((row.name, {}), (f"{row.name} --stripped", {STRIPPED: True})):
            with tempfile.TemporaryDirectory(prefix="vitrify-") as scratch:
                try:
                    engine = _write_graph(Path(scratch), row, version, present, flags)
                    found[name] = _tested(engine, Path(scratch), machine, build, opens or _opened)
                except VitrifyError as error:
                    found[name] = str(error)
    if not found:
        raise DependencyMissing(f"no engine builder is installed: {install_hint('rtx')}, or the extra 'tensorrt'")
    return found


def require_passed(found: Mapping[str, str]) -> None:
    """Raise EnvironmentMissing unless an engine of some builder works."""
    if not any(said.startswith(_WORKS) for said in found.values()):
        raise EnvironmentMissing("no engine works on this machine: see the lines above")


def _tested(engine: Engine, folder: Path, machine: Machine, build: Build, opens: Open) -> str:
    row = BUILDERS[engine.builder]
    if engine.sm not in row.targets and not row.only_current:
        return f"does not build for compute capability {engine.sm}"
    path = folder / engine.file
    path.parent.mkdir()
    report = build(folder / _GRAPH, path, build_request(engine), Limits(_SECONDS))
    if report["stage"] != "done":
        return f"did not build ({report['stage']}): {report['reasons'][0]['why']}"
    write_sidecar(replace(engine, sha256=report["sha256"]), folder)
    with opens(path, machine) as session:
        return _compared(session)


def _write_graph(folder: Path, row: Builder, version: str, capability: str, flags: Mapping[str, Any]) -> Engine:
    model = parser.parse_model(_TEXT)
    model.graph.initializer.append(numpy_helper.from_array(_WEIGHT, model.graph.input.pop().name))
    graph = onnx_ir.from_proto(model)
    to_half(graph, DTYPES["fp16"], keep=["Softmax"])
    save_graph(graph, folder / _GRAPH)
    tensors = read_tensors(folder / _GRAPH)
    profile = load_profile("trt-fp16-latency")
    return Engine(
        profile=profile.name,
        graph="model",
        builder=row.name,
        version=version,
        sm=capability,
        sources={path.name: file_digest(path) for path in sorted(folder.glob(f"{_GRAPH}*"))},
        shapes=engine_shapes(tensors.inputs, {"batch": Axis(), "sequence": Axis()}, profile),
        inputs=tensors.inputs,
        outputs=tensors.outputs,
        flags=flags,
    )


def _opened(path: Path, machine: Machine) -> Session:
    return EngineSession(path, options={}, opening=Opening(machine=machine))


def _compared(session: Session) -> str:
    """Run the engine on two shapes and compare it with numpy."""
    draw = np.random.default_rng(0)
    worst = 0.0
    for shape in ((1, 7, 64), (3, 33, 64)):
        states = draw.standard_normal(shape).astype(np.float32) / 4
        scores = np.exp(states @ states.transpose(0, 2, 1))
        expected = scores / scores.sum(-1, keepdims=True) @ states @ _WEIGHT
        worst = max(worst, float(np.abs(session.run({"states": states})["mixed"] - expected).max()))
    if not worst <= _TOLERANCE:
        raise EnvironmentMissing(f"computes something else: {worst:.2g} from numpy, {_TOLERANCE:g} allowed")
    return f"{_WORKS}: built, loaded, run at two shapes, at most {worst:.1g} from numpy"
