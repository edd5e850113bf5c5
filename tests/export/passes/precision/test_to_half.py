"""Half precision as a property of the graph: which parts are half, and that the emulation rounds as half would."""

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from tests.graphs import graph_of
from vitrify.export.passes.precision.to_half import DTYPES, emulate, to_half
from vitrify.runtime.errors import ExportError

HALF = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}
LAYER = """
layer (float[batch, 4] x) => (float[batch, 4] y) <float[4, 4] w, float[4] b>
{
    product = MatMul(x, w)
    y = Add(product, b)
}
"""
# A norm that is written out, as the tracer writes RMSNorm.
NORM = """
norm (int64[batch, sequence] ids) => (float[batch, sequence, 8] y)
<float[50, 8] table, float[8, 8] w, float[8] gain, int64[1] last = {-1}>
{
    x = Gather(table, ids)
    two = Constant <value = float {2}> ()
    tiny = Constant <value = float {1e-8}> ()
    square = Pow(x, two)
    mean = ReduceMean <keepdims = 1> (square, last)
    safe = Add(mean, tiny)
    root = Sqrt(safe)
    inverse = Reciprocal(root)
    scaled = Mul(x, inverse)
    normed = Mul(gain, scaled)
    product = MatMul(normed, w)
    y = Add(x, product)
}
"""
# Positions as float32 numbers: past 2048 they are not whole in float16.
ANGLES = """
angles (int64[batch, sequence] ids, int64[batch, sequence] positions) => (float[batch, sequence, 4] y)
<float[50, 4] table, float[4] frequencies, int64[1] last = {-1}>
{
    whole = Cast <to = 1> (positions)
    column = Unsqueeze(whole, last)
    angle = Mul(column, frequencies)
    cosine = Cos(angle)
    x = Gather(table, ids)
    y = Mul(x, cosine)
}
"""
MASKED = """
masked (float[batch, 4] x, bool[batch, 4] seen) => (float[batch, 4] y) <float[4, 4] w>
{
    zero = Constant <value = float {0}> ()
    lowest = Constant <value = float {-3.4028235e38}> ()
    mask = Where(seen, zero, lowest)
    scores = MatMul(x, w)
    added = Add(scores, mask)
    y = Softmax <axis = -1> (added)
}
"""
CACHED = """
cached (float[batch, 2, past, 4] past_key_values_0_key, float[batch, 2, 1, 4] x)
    => (float[batch, 2, total, 4] present_0_key, float[batch, 2, total, 4] scores)
<float[4, 4] w>
{
    key = MatMul(x, w)
    present_0_key = Concat <axis = 2> (past_key_values_0_key, key)
    scores = Mul(present_0_key, present_0_key)
}
"""
BRANCHES = """
branches (bool c, float[4] x) => (float[4] y)
{
    y = If (c) <then_branch = yes () => (float[4] a) { a = Neg(x) }, else_branch = no () => (float[4] b) { b = Abs(x) }>
}
"""


def halved(text, kind="fp16", keep=(), exact=(), **weights):
    model = graph_of(text, **weights)
    to_half(model, DTYPES[kind], keep=keep, exact=exact)
    return model


def run(model, **feeds):
    session = onnxruntime.InferenceSession(onnx_ir.to_proto(model).SerializeToString())
    return session.run(None, feeds)


def emulated(model, **feeds):
    emulate(model)
    return run(model, **feeds)


def dtypes(model):
    return {str(value.name): value.dtype.name for node in model.graph for value in node.outputs}


@pytest.mark.parametrize("kind", HALF)
@pytest.mark.parametrize(
    "text", [LAYER, NORM, ANGLES, MASKED, CACHED], ids=["layer", "norm", "angles", "mask", "cache"]
)
def test_the_graph_is_right_by_onnx_own_check(text, kind):
    onnx.checker.check_model(onnx_ir.to_proto(halved(text, kind)), full_check=True)


@pytest.mark.parametrize("kind", HALF)
def test_a_layer_is_half_and_its_ends_are_float32(kind):
    model = halved(LAYER, kind)
    assert [value.dtype.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["FLOAT", "FLOAT"]
    assert dtypes(model)["product"] == DTYPES[kind].name
    weights = {value.dtype.name for value in model.graph.initializers.values()}
    assert weights == {DTYPES[kind].name}, "a float32 copy of a weight stayed"


@pytest.mark.parametrize("kind", HALF)
def test_the_emulation_rounds_inputs_weights_and_every_result_as_half_does(kind):
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    model = halved(LAYER, kind)
    weights = {str(name): value.const_value.numpy() for name, value in model.graph.initializers.items()}
    w, b = (next(array for array in weights.values() if array.ndim == ndim) for ndim in (2, 1))
    half = HALF[kind]
    product = (x.astype(half).astype(np.float32) @ w.astype(np.float32)).astype(half)
    expected = (product.astype(np.float32) + b.astype(np.float32)).astype(half).astype(np.float32)
    (made,) = emulated(model, x=x)
    np.testing.assert_array_equal(made, expected)
    assert not np.array_equal(made, run(graph_of(LAYER), x=x)[0])


def test_onnxruntime_does_not_optimize_the_rounding_away():
    (made,) = emulated(halved(LAYER, w=np.eye(4), b=np.zeros(4)), x=np.full((1, 4), 1 + 2**-12, np.float32))
    assert (made == 1.0).all()


def test_the_emulation_of_float16_is_what_onnxruntime_computes_in_float16():
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(run(halved(LAYER), x=x)[0], emulated(halved(LAYER), x=x)[0], atol=2e-3)


def test_statistics_of_a_norm_stay_float32_and_what_follows_is_half():
    found = dtypes(halved(NORM))
    assert {found[name] for name in ("square", "mean", "safe", "root", "inverse", "scaled", "normed")} == {"FLOAT"}
    assert {found[name] for name in ("x", "product")} == {"FLOAT16"}


def test_a_norm_of_numbers_whose_squares_half_cannot_hold_is_right():
    ids = np.arange(6).reshape(2, 3)
    table = np.random.default_rng(0).standard_normal((50, 8)) * 1e4  # squares of 1e8: infinite in float16
    expected = run(graph_of(NORM, table=table), ids=ids)[0]
    made = emulated(halved(NORM, table=table), ids=ids)[0]
    np.testing.assert_allclose(made, expected, rtol=2e-3, atol=40)


def test_angles_of_late_positions_are_exact():
    ids, positions = np.zeros((1, 2), np.int64), np.array([[2049, 4097]])
    weights = {"table": np.ones((50, 4)), "frequencies": np.ones(4)}
    made = emulated(halved(ANGLES, **weights), ids=ids, positions=positions)[0]
    np.testing.assert_allclose(made[0, :, 0], np.cos([2049, 4097]), atol=1e-3)


@pytest.mark.parametrize("kind", HALF)
def test_a_mask_stays_finite_so_that_a_row_without_anything_to_see_is_no_nan(kind):
    x, seen = np.ones((2, 4), np.float32), np.array([[True, True, False, False], [False] * 4])
    made = emulated(halved(MASKED, kind, w=np.diag([1.0, 2, 3, 4])), x=x, seen=seen)[0]
    assert np.isfinite(made).all()
    assert (made[0, 2:] == 0).all()
    np.testing.assert_allclose(made[0, :2], [0.2689, 0.7311], atol=5e-3)


def test_a_cache_is_half_and_other_outputs_are_float32():
    model = halved(CACHED)
    assert {str(v.name): v.dtype.name for v in (*model.graph.inputs, *model.graph.outputs)} == {
        "past_key_values.0.key": "FLOAT16",
        "x": "FLOAT",
        "present.0.key": "FLOAT16",
        "scores": "FLOAT",
    }
    emulate(model)
    assert {value.dtype.name for value in (*model.graph.inputs, *model.graph.outputs)} == {"FLOAT"}


def test_a_kept_operator_is_float32():
    assert dtypes(halved(MASKED))["y_half"] == "FLOAT16"
    assert dtypes(halved(MASKED, keep=["Softmax"]))["y"] == "FLOAT"


STREAM = """
stream (float[batch, 4] x) => (float[batch, 4] y) <float[4, 4] first, float[4, 4] loud, float[4, 4] last>
{
    before = MatMul(x, first)
    added = MatMul(before, loud)
    stream = Add(before, added)
    turned = Relu(stream)
    y = MatMul(turned, last)
}
"""


def test_an_exact_product_and_what_it_is_added_to_are_float32_up_to_the_next_product():
    kinds = dtypes(halved(STREAM, exact=["loud"]))
    floats = {name for name in ("before", "added", "stream", "turned", "y_half") if kinds[name] == "FLOAT"}
    assert floats == {"added", "stream", "turned"}
    assert dtypes(halved(STREAM))["stream"] == "FLOAT16"


def test_a_value_is_cast_once_however_often_it_is_read():
    text = LAYER.replace(
        "y = Add(product, b)", "other = MatMul(x, w)\n twice = Add(product, other)\n y = Add(twice, b)"
    )
    assert Counter(node.op_type for node in halved(text).graph)["Cast"] == 2  # x, and y


def test_branches_are_refused_in_words():
    with pytest.raises(ExportError, match="has branches"):
        halved(BRANCHES)
