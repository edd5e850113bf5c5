import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
from onnx_ir.passes import common

from vitrify.export.passes.portable.choose_by_masks import choose_by_masks

LOWEST = np.finfo(np.float32).min
TEXT = """<ir_version: 10, opset_import: ["" : 20]>
g (bool[2, 3] mask, float[2, 3] scores) => (float[2, 3] y)
<float lowest = {-3.4028234663852886e38}> {
    hidden = Not(mask)
    number = Cast<to = 1>(hidden)
    product = Mul(number, lowest)
    y = Add(scores, product)
}"""


def run(model, **feeds):
    session = onnxruntime.InferenceSession(onnx_ir.to_proto(model).SerializeToString())
    return session.run(None, feeds)[0]


def chosen(text):
    model = onnx_ir.from_proto(onnx.parser.parse_model(text))
    choose_by_masks(model)
    common.RemoveUnusedNodesPass()(model)
    return model


def test_a_mask_that_is_multiplied_is_a_choice_of_the_same_numbers():
    mask = np.array([[True, False, True], [False, False, True]])
    scores = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = chosen(TEXT)
    assert {node.op_type for node in model.graph} == {"Constant", "Where", "Add"}
    np.testing.assert_array_equal(run(model, mask=mask, scores=scores), np.where(mask, scores, scores + LOWEST))
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hidden = Not(mask)", "hidden = Identity(mask)"),
        ("Mul(number, lowest)", "Mul(number, scores)"),
        ("Mul(number, lowest)", "Sub(number, lowest)"),
    ],
)
def test_what_is_no_mask_stays(old, new):
    before = onnx_ir.from_proto(onnx.parser.parse_model(TEXT.replace(old, new)))
    assert [node.op_type for node in chosen(TEXT.replace(old, new)).graph] == [node.op_type for node in before.graph]
