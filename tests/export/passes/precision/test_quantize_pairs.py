"""Explicit QuantizeLinear pairs: which layers get them, with which scales, and that what they compute is what was."""

from collections import Counter

import ml_dtypes
import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from tests.graphs import HEAD, graph_of
from vitrify.export.engine.lint import check_graph
from vitrify.export.passes.precision.quantize_pairs import HIGHEST, LOWEST, POWER, Magnitude, observe, quantize_pairs
from vitrify.export.passes.precision.to_half import DTYPES, emulate, to_half
from vitrify.runtime.errors import UnsupportedError

ROWS, WIDTH = 64, 32
# Two matrices that read the same, a product of two activations, a lookup, and a head too small to matter.
TEXT = """
model (int64[batch] ids, float[batch, 32] x) => (float[batch, 3] y)
<float[50, 32] table, float[32, 32] first, float[32, 32] second, float[32, 3] head>
{
    a = MatMul(x, first)
    b = MatMul(x, second)
    c = Mul(a, b)
    found = Gather(table, ids)
    d = Add(c, found)
    y = MatMul(d, head)
}
"""
TRANSPOSED = """
model (float[batch, 32] x) => (float[batch, 48] y) <float[48, 32] w, float[48] c>
{ y = Gemm <transB = 1> (x, w, c) }
"""
PICTURES = """
model (float[batch, 3, 8, 8] x) => (float[batch, 20, 8, 8] y) <float[20, 3, 3, 3] w>
{ y = Conv <pads = [1, 1, 1, 1]> (x, w) }
"""
TYPES = {"int8": (onnx_ir.DataType.INT8, 127), "fp8": (onnx_ir.DataType.FLOAT8E4M3FN, 448)}


def numbers(shape, *, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(model, **feeds):
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(onnx_ir.to_proto(model).SerializeToString(), options)
    return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


def seen_by(text, **feeds):
    """Return what one run shows of each observed value."""
    model = graph_of(text)
    observe(model)
    made = run(model, **feeds)
    names = {name.removesuffix(HIGHEST) for name in made if name.endswith(HIGHEST)}
    return {name: Magnitude(*(made[f"{name}{end}"] for end in (HIGHEST, LOWEST, POWER))) for name in names}


def quantized(text, kind="int8", *, symmetric=True, **feeds):
    model = graph_of(text)
    quantize_pairs(model, seen_by(text, **feeds), kind=kind, symmetric=symmetric)
    return model


def operators(model):
    return Counter(node.op_type for node in model.graph)


def text_feeds(**changes):
    return {"ids": np.arange(ROWS) % 50, "x": numbers((ROWS, WIDTH)), **changes}


def error(model, text, output="y", **feeds):
    expected, made = run(graph_of(text), **feeds)[output], run(model, **feeds)[output]
    return float(np.sqrt(((made - expected) ** 2).mean() / (expected**2).mean()))


def test_observed_are_the_highest_the_lowest_and_the_mean_square_of_each_channel():
    feeds = text_feeds()
    seen = seen_by(TEXT, **feeds)
    assert set(seen) == {"x"}
    np.testing.assert_allclose(seen["x"].highest, feeds["x"].max(0))
    np.testing.assert_allclose(seen["x"].lowest, feeds["x"].min(0))
    np.testing.assert_allclose(seen["x"].largest, np.abs(feeds["x"]).max(0))
    np.testing.assert_allclose(seen["x"].power, (feeds["x"] ** 2).mean(0), rtol=1e-5)
    pictures = numbers((2, 3, 8, 8))
    np.testing.assert_allclose(seen_by(PICTURES, x=pictures)["x"].largest, np.abs(pictures).max())


@pytest.mark.parametrize("kind", TYPES)
def test_layers_that_read_the_same_share_its_pair_and_small_ones_stay(kind):
    feeds = text_feeds()
    model = quantized(TEXT, kind, **feeds)
    assert operators(model)["QuantizeLinear"] == 1
    assert operators(model)["DequantizeLinear"] == 3  # x, and two weights
    stored = {name: value for name, value in model.graph.initializers.items() if value.dtype == TYPES[kind][0]}
    assert sum(value.const_value.size == WIDTH * WIDTH for value in stored.values()) == 2
    assert {"first", "second"} & set(model.graph.initializers) == set(), "the float32 matrices stayed"
    assert {"table", "head"} <= set(model.graph.initializers)
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)


@pytest.mark.parametrize(("kind", "most"), [("int8", 0.03), ("fp8", 0.08)])
@pytest.mark.parametrize(
    ("text", "feeds"),
    [(TEXT, text_feeds()), (TRANSPOSED, {"x": numbers((ROWS, WIDTH))}), (PICTURES, {"x": numbers((2, 3, 8, 8))})],
    ids=["MatMul", "Gemm", "Conv"],
)
def test_what_is_computed_is_what_was(text, feeds, kind, most):
    found = error(quantized(text, kind, **feeds), text, **feeds)
    assert 1e-4 < found < most, "not quantized, or something else"


@pytest.mark.parametrize("kind", TYPES)
def test_scales_are_symmetric_and_use_the_whole_range(kind):
    feeds = {"x": numbers((2, 3, 8, 8))}
    model = quantized(PICTURES, kind, **feeds)
    arrays = {str(name): value.const_value.numpy() for name, value in model.graph.initializers.items()}
    most = TYPES[kind][1]
    assert arrays["x.scale"] == pytest.approx(np.abs(feeds["x"]).max() / most, rel=2e-3)
    assert all(not array.astype(np.float32).any() for name, array in arrays.items() if name.endswith(".zero"))
    (stored,) = (array for name, array in arrays.items() if name.endswith(".stored"))
    assert stored.dtype == (np.int8 if kind == "int8" else ml_dtypes.float8_e4m3fn)
    largest = np.abs(stored.astype(np.float32)).max(axis=(1, 2, 3))
    assert (largest > 0.9 * most).all(), "a filter does not use its range"


def test_a_few_large_channels_are_evened_out():
    x = numbers((ROWS, WIDTH))
    x[:, 3] *= 100
    feeds = text_feeds(x=x)
    model = quantized(TEXT, **feeds)
    assert operators(model)["Mul"] == 2  # the graph's own, and the evening
    assert error(model, TEXT, **feeds) < 0.03
    blind = graph_of(TEXT)
    of_all = Magnitude(np.full(WIDTH, x.max()), np.full(WIDTH, x.min()), np.full(WIDTH, (x**2).mean()))
    quantize_pairs(blind, {"x": of_all}, kind="int8")
    assert error(blind, TEXT, **feeds) > 2 * error(model, TEXT, **feeds)


def test_a_layer_that_reads_mostly_small_numbers_and_rare_large_ones_stays_in_int8_and_not_in_fp8():
    x = numbers((4096, WIDTH)) * 1e-3
    x[0] = 1  # in every channel: nothing to even out
    feeds = {"ids": np.zeros(len(x), np.int64), "x": x}
    with pytest.raises(UnsupportedError, match="no layer to quantize to int8"):
        quantized(TEXT, **feeds)
    assert operators(quantized(TEXT, "fp8", **feeds))["QuantizeLinear"] == 1


def test_where_symmetry_is_not_asked_for_such_a_layer_spends_no_step_on_numbers_that_do_not_occur():
    x = numbers((4096, WIDTH)) * 0.1
    x = np.maximum(x, -0.17)
    x[0] = 6  # in every channel: nothing to even out
    feeds = {"ids": np.zeros(len(x), np.int64), "x": x}
    with pytest.raises(UnsupportedError, match="no layer to quantize to int8"):
        quantized(TEXT, **feeds)
    model = quantized(TEXT, symmetric=False, **feeds)
    arrays = {str(name): value.const_value.numpy() for name, value in model.graph.initializers.items()}
    assert arrays["x.zero"].dtype == np.uint8
    assert arrays["x.scale"] == pytest.approx((6 + 0.17) / 255, rel=2e-3)
    assert -arrays["x.zero"].astype(np.float32) * arrays["x.scale"] == pytest.approx(-0.17, abs=6.17 / 255)
    assert {array.dtype for name, array in arrays.items() if name.endswith(".stored")} == {np.dtype(np.int8)}
    assert error(model, TEXT, **feeds) < 0.1
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)


def test_a_layer_that_symmetric_steps_suit_has_them_where_symmetry_is_not_asked_for():
    feeds = text_feeds(x=np.abs(numbers((ROWS, WIDTH))))
    made = [quantized(TEXT, symmetric=symmetric, **feeds) for symmetric in (True, False)]
    first, second = (onnx_ir.to_proto(model).SerializeToString() for model in made)
    assert first == second


def test_a_layer_that_read_nothing_stays_and_a_graph_without_layers_is_refused():
    with pytest.raises(UnsupportedError, match="use a profile in half precision"):
        quantized(TEXT, **text_feeds(x=np.zeros((ROWS, WIDTH), np.float32)))
    with pytest.raises(UnsupportedError):
        quantize_pairs(
            onnx_ir.from_proto(onnx.parser.parse_model(f"{HEAD}g (float[2] a) => (float[2] b) {{ b = Neg(a) }}")),
            {},
            kind="int8",
        )


@pytest.mark.parametrize("kind", TYPES)
def test_in_half_precision_a_product_reads_the_pairs_as_they_are(kind, tmp_path):
    feeds = text_feeds()
    model = quantized(TEXT, kind, **feeds)
    to_half(model, DTYPES["fp16"])
    for node in model.graph:
        if node.op_type == "MatMul":
            assert {value.dtype for value in node.inputs} == {onnx_ir.DataType.FLOAT16}
        if node.op_type == "DequantizeLinear":
            assert node.outputs[0].dtype == onnx_ir.DataType.FLOAT16
            assert [use.node.op_type for use in node.outputs[0].uses()][:1] == ["MatMul"]
    onnx.checker.check_model(onnx_ir.to_proto(model), full_check=True)
    onnx_ir.save(model, tmp_path / "model.onnx")
    check_graph(tmp_path / "model.onnx")
    emulate(model)
    assert error(model, TEXT, **feeds) < 0.1
