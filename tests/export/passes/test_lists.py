"""What a bundle's report says of each graph: the passes that it went through, by name and in order."""

import json

import pytest

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle

TRACED = [
    *("name_caches", "keep_outputs", "deepen_stacks", "fold_constants", "choose_by_masks", "remove_unused_nodes"),
    *("merge_equal_nodes", "merge_equal_weights", "remove_unused_nodes", "name_axes", "clear_metadata"),
    "stamp_versions",
]
DECODER = [*TRACED, "read_sizes_off_tokens", "drop_unused_inputs", "keep_last_logits"]
FUSED = ["compose_attention", "fuse_group_query", "fuse_norms", "remove_unused_nodes"]
OLDER = ["decompose_attention", "lower_opset"]
STEP = [*TRACED, "rename_inputs", "drop_presents", "drop_unused_inputs", "keep_last_logits"]
EXPECTED = {
    ("llama", "causal-lm", ("cpu-fp32", "cpu-w4")): {
        "onnx/model.onnx": [*DECODER, *OLDER],
        "onnx/model_in_place.onnx": [*DECODER, *FUSED, *OLDER],
        "onnx/model_in_place_q4.onnx": [*DECODER, *FUSED, *OLDER, "pack_layers", "quantize_weights"],
    },
    ("bert", "base", ("cpu-int8", "trt-int8")): {
        "onnx/model_int8.onnx": [*TRACED, "quantize_dynamic"],
        "onnx/model_trt_int8.onnx": [*TRACED, "quantize_pairs", "to_half"],
    },
    ("t5", "seq2seq-lm", ("cpu-fp32",)): {
        "onnx/encoder_model.onnx": [*TRACED, "rename_outputs"],
        "onnx/decoder_model_merged.onnx": [*STEP, "merge_cross_attention", *OLDER],
        "onnx/cross_attention.onnx": [*TRACED, "split_cross_attention", *OLDER],
        "onnx/decoder_step.onnx": [*STEP, *OLDER],
    },
}


@pytest.mark.parametrize(("row", "expected"), EXPECTED.items(), ids=[row[0] for row in EXPECTED])
def test_a_bundle_says_what_each_graph_went_through(row, expected, tmp_path):
    model_type, head, profiles = row
    checkpoint = make_checkpoint(model_type, head, tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=profiles, allow_mismatch=True, sms=None)
    assert {file: list(names) for file, names in report.passes.items()} == expected
    assert json.loads((tmp_path / "bundle" / "reports" / "passes.json").read_text(encoding="utf-8")) == expected


def test_the_command_line_prints_them(exported):
    assert exported.finished.document["passes"] == {"onnx/model.onnx": TRACED}
