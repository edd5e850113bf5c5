"""What stands in for transformers' functions while a model is traced: it is there, and does what its row says."""

import importlib
from operator import attrgetter

import onnx
import pytest

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.export.tracing import traceable


@pytest.mark.parametrize("row", traceable._ROWS)
def test_what_a_row_names_is_there(row):
    path, _, name = row.partition(":")
    assert callable(attrgetter(name)(importlib.import_module(path)))


@pytest.mark.parametrize(
    ("model_type", "head", "masked"), [("vit", "image-classification", False), ("bert", "base", True)]
)
def test_attention_has_a_mask_only_where_something_can_be_masked(model_type, head, masked, tmp_path):
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    bundle = export_bundle(checkpoint, tmp_path / "bundle", profiles="cpu-fp32").bundle
    graph = onnx.load(tmp_path / "bundle" / bundle.builds["cpu-fp32"].graphs["model"], load_external_data=False).graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    scores = [producers[node.input[0]] for node in graph.node if node.op_type == "Softmax"]
    assert set(scores) == {"Add" if masked else "MatMul"}
    assert ("Where" in producers.values()) == masked
