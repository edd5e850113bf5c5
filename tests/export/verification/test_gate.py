"""The gate must fail: a lost mask, shifted positions, a swapped input or a frozen axis make another model."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import helper, numpy_helper

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.export.checkpoint.opened import open_checkpoint
from vitrify.export.families import encoder
from vitrify.export.verification.gate import Subject, examine
from vitrify.export.verification.grids import plans_for
from vitrify.export.verification.oracle import ForwardOracle
from vitrify.export.verification.plan import Plan
from vitrify.profiles import load_profile
from vitrify.runtime.errors import ExportError, ParityError
from vitrify.runtime.sessions import open_session
from vitrify.runtime.sessions.model import Model
from vitrify.runtime.verification.parity import Case, figures_of, summary

FP32 = load_profile("cpu-fp32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    checkpoint = open_checkpoint(make_checkpoint("bert", "sequence-classification", folder / "checkpoint"))
    export_bundle(folder / "checkpoint", folder / "bundle")
    oracle = ForwardOracle(checkpoint)
    (plan,) = plans_for(checkpoint, oracle)
    return folder / "bundle" / "onnx" / "model.onnx", oracle, plan


def lost_mask(graph: onnx.GraphProto) -> None:
    """Every token is attended to, padding too."""
    graph.initializer.append(helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1]))
    _read_instead(graph, "attention_mask", helper.make_node("Max", ["attention_mask", "one"], ["unmasked"]))


def shifted_positions(graph: onnx.GraphProto) -> None:
    table = _initializer(graph, "position_embeddings")
    table.CopyFrom(numpy_helper.from_array(np.roll(numpy_helper.to_array(table), 1, axis=0), table.name))


def swapped_inputs(graph: onnx.GraphProto) -> None:
    """The segments are read as the mask, and the mask as the segments."""
    names = {"attention_mask": "token_type_ids", "token_type_ids": "attention_mask"}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]


def truncated_sequence(graph: onnx.GraphProto) -> None:
    """Only the first 64 tokens are read: right at every length up to the traced one, and at 64."""
    for name in [value.name for value in graph.input]:
        bounds = [
            helper.make_tensor(f"{name}_{key}", onnx.TensorProto.INT64, [1], [value])
            for key, value in (("start", 0), ("end", 64), ("axis", 1))
        ]
        graph.initializer.extend(bounds)
        cut = helper.make_node("Slice", [name, *(bound.name for bound in bounds)], [f"{name}_cut"])
        _read_instead(graph, name, cut)


def swapped_labels(graph: onnx.GraphProto) -> None:
    weight = _initializer(graph, "classifier.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[::-1].copy(), weight.name))


def _read_instead(graph: onnx.GraphProto, name: str, node: onnx.NodeProto) -> None:
    for other in graph.node:
        other.input[:] = [node.output[0] if given == name else given for given in other.input]
    graph.node.insert(0, node)


def _initializer(graph: onnx.GraphProto, part: str) -> onnx.TensorProto:
    return next(tensor for tensor in graph.initializer if part in tensor.name)


def _examined(path: Path, oracle: ForwardOracle, plan) -> dict:
    with open_session(path, provider="cpu", options={}) as session:
        subjects = {"cpu-fp32": Subject([Model(session, plan.axes)], FP32.tolerance)}
        return summary(examine(plan, oracle, subjects, budget=0).figures["cpu-fp32"])


def test_the_graph_itself_passes(exported):
    assert _examined(*exported)["passed"]


@pytest.mark.parametrize(
    "mutate",
    [lost_mask, shifted_positions, swapped_inputs, truncated_sequence, swapped_labels],
    ids=lambda f: f.__name__,
)
def test_a_mutated_graph_fails(mutate, exported, tmp_path):
    path, oracle, plan = exported
    model = onnx.load(path)
    mutate(model.graph)
    onnx.save(model, tmp_path / "mutated.onnx")
    found = _examined(tmp_path / "mutated.onnx", oracle, plan)
    assert not found["passed"]
    assert found["worst"]["difference"] > 10 * found["worst"]["limit"]


def test_a_frozen_axis_fails(exported, tmp_path):
    """A graph that takes only the traced length cannot run the grid, which counts as infinitely wrong."""
    path, oracle, plan = exported
    model = onnx.load(path)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_value = 13
    onnx.save(model, tmp_path / "frozen.onnx")
    found = _examined(tmp_path / "frozen.onnx", oracle, plan)
    assert not found["passed"]
    assert found["worst"]["difference"] == float("inf")


def test_an_export_that_fails_the_gate_leaves_nothing(tmp_path, monkeypatch):
    """A trace that shifts positions, as a broken exporter would: no bundle, unless a mismatch is allowed."""

    def forgetful(model, inputs, **options):
        graph = faithful(model, inputs, **options)
        table = next(value for name, value in graph.graph.initializers.items() if "position_embeddings" in name)
        table.const_value = onnx_ir.tensor(np.roll(table.const_value.numpy(), 1, axis=0), name=table.name)
        return graph

    faithful = encoder.graph_from_model
    monkeypatch.setattr(encoder, "graph_from_model", forgetful)
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    with pytest.raises(ParityError, match="the graph does not match"):
        export_bundle(checkpoint, tmp_path / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    report = export_bundle(checkpoint, tmp_path / "bundle", allow_mismatch=True)
    assert not report.passed
    assert not report.bundle.builds["cpu-fp32"].verified


@pytest.mark.parametrize("bad", [float("nan"), 1.0])
def test_a_figure_never_passes_on_nan_or_a_large_difference(bad):
    case = Case("one", {}, {"logits": np.zeros((1, 3), np.float32)})
    (figure,) = figures_of(case, {"logits": np.full((1, 3), bad, np.float32)}, FP32.tolerance)
    assert not figure.passed


def test_a_missing_output_or_another_shape_never_passes():
    case = Case("one", {}, {"logits": np.zeros((1, 3), np.float32)})
    for outputs in ({}, {"logits": np.zeros((1, 4), np.float32)}):
        (figure,) = figures_of(case, outputs, FP32.tolerance)
        assert not figure.passed


@pytest.mark.parametrize(("scale", "allowed"), [(1.0, 1e-4), (10.0, 1e-4), (300.0, 3e-3)])
def test_the_limit_is_absolute_for_logits_and_relative_for_large_hidden_states(scale, allowed):
    case = Case("one", {}, {"states": np.full((1, 2, 3), scale, np.float64)})
    for share, passes in ((0.9, True), (1.1, False)):
        (figure,) = figures_of(case, {"states": np.full((1, 2, 3), scale + share * allowed)}, FP32.tolerance)
        assert figure.passed == passes


class Failing:
    def case(self, name, inputs):
        raise IndexError("index out of range in self")


def test_a_model_that_fails_on_a_case_is_not_our_bug():
    plan = Plan(traced=None, grid=(("batch 1 x sequence 9", {}),), axes={})
    with pytest.raises(ExportError, match="the PyTorch model itself fails on batch 1 x sequence 9: index out of range"):
        examine(plan, Failing(), {"cpu-fp32": Subject((), FP32.tolerance)}, budget=0)
