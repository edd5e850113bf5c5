"""Lists of passes: a graph remembers its names, and whatever a pass raises says which pass and which graph."""

import importlib
import logging
from functools import partial
from pathlib import Path

import onnx_ir
import pytest

from vitrify.export import passes
from vitrify.export.passes.portable.drop_unused_inputs import drop_unused_inputs
from vitrify.export.passes.portable.keep_last_logits import keep_last_logits
from vitrify.export.passes.portable.keep_outputs import keep_outputs
from vitrify.export.passes.running import Refusal, passes_of, run_passes
from vitrify.runtime.errors import ExportError, UnsupportedError

TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
plain (float[batch, 3] x, float[batch, 3] unused) => (float[batch, 3] logits, float[batch, 3] more)
{
    logits = Neg(x)
    more = Abs(x)
}
"""
FOLDER = Path(passes.__path__[0])
# `borrowed` has those of other libraries, a line each.
FILES = [
    path
    for kind in ("portable", "fusion", "precision")
    for path in sorted((FOLDER / kind).glob("[!_]*.py"))
    if path.stem != "borrowed"
]


@pytest.fixture
def graph():
    return onnx_ir.from_onnx_text(TEXT)


def refuse_graph(_graph, error):
    raise error


def copy_graph(graph):
    return graph.clone()


def test_a_graph_remembers_its_passes_and_so_does_a_copy(graph):
    run_passes(graph, (drop_unused_inputs, partial(keep_outputs, names=("logits",))), name="model")
    assert passes_of(graph) == ("drop_unused_inputs", "keep_outputs")
    assert [value.name for value in graph.graph.inputs] == ["x"]
    assert [value.name for value in graph.graph.outputs] == ["logits"]
    copied = run_passes(graph, (copy_graph, drop_unused_inputs), name="copy")
    assert passes_of(copied) == ("drop_unused_inputs", "keep_outputs", "copy_graph", "drop_unused_inputs")
    assert passes_of(graph) == ("drop_unused_inputs", "keep_outputs")


def test_names_are_written_into_no_file(graph):
    run_passes(graph, (drop_unused_inputs,), name="model")
    assert b"drop_unused_inputs" not in onnx_ir.to_proto(graph).SerializeToString()


@pytest.mark.parametrize("kind", [ExportError, UnsupportedError, Refusal])
def test_what_a_pass_refuses_keeps_its_class_and_gets_the_names(graph, kind):
    with pytest.raises(kind, match=r"^pass refuse_graph does not support graph 'decoder_step': no such") as caught:
        run_passes(graph, (drop_unused_inputs, partial(refuse_graph, error=kind("no such form"))), name="decoder_step")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (AttributeError("no 'shape'\nand more"), "AttributeError: no 'shape'"),
        (KeyError("past"), "KeyError: 'past'"),
        (AssertionError(), "AssertionError: no reason given"),
        (onnx_ir.passes.PassError("inner"), "PassError: inner"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_pass_fails_with_becomes_an_export_error(graph, error, said):
    with pytest.raises(ExportError) as caught:
        run_passes(graph, (partial(refuse_graph, error=error),), name="model")
    assert str(caught.value) == f"pass refuse_graph fails on graph 'model': {said}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [OSError(28, "no space"), MemoryError(), KeyboardInterrupt()])
def test_what_is_the_machines_or_the_users_goes_through(graph, error):
    with pytest.raises(type(error)) as caught:
        run_passes(graph, (partial(refuse_graph, error=error),), name="model")
    assert caught.value is error


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (
            partial(keep_outputs, names=("hidden",)),
            "pass keep_outputs does not support graph 'model': the traced graph",
        ),
        (keep_last_logits, "pass keep_last_logits does not support graph 'model': the graph's logits do not come from"),
    ],
)
def test_a_graph_that_is_not_of_a_passs_form_is_refused_by_name(graph, one, said):
    with pytest.raises(ExportError, match=f"^{said}"):
        run_passes(graph, (one,), name="model")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_passes_is_named_after_its_pass(path):
    module = importlib.import_module(f"{passes.__name__}.{path.parent.name}.{path.stem}")
    assert callable(getattr(module, path.stem))


def test_a_refusal_of_fusion_leaves_the_other_graph(tmp_path, caplog):
    from tests.checkpoints import make_checkpoint
    from vitrify import export_bundle

    checkpoint = make_checkpoint("bloom", "causal-lm", tmp_path / "checkpoint")
    with caplog.at_level(logging.INFO, logger="vitrify"):
        report = export_bundle(checkpoint, tmp_path / "bundle")
    assert "no static KV cache: pass fuse_group_query does not support graph 'in_place': " in caplog.text
    assert list(report.passes) == ["onnx/model.onnx"]
