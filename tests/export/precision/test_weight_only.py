import hashlib

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from vitrify.export.passes.precision.quantize_weights import quantizable, quantize_weights
from vitrify.export.passes.reading.blocks import quantize_blocks
from vitrify.export.precision.quality import nodes_to_keep
from vitrify.export.saving import save_quantized
from vitrify.runtime.errors import ParityError, UnsupportedError, UsageError
from vitrify.runtime.verification.quality import Quality, QualityGate, measure_quality

# Worst relative error of normal weights, root mean square, per bits and block: 1.15 x what was measured.
BOUNDS = {(4, 32): 0.092, (4, 64): 0.102, (4, 128): 0.110, (8, 32): 0.0059, (8, 64): 0.0066, (8, 128): 0.0072}
WIDTH, VOCABULARY = 72, 48  # 72 is no multiple of any block
DECODER = """
<ir_version: 10, opset_import: ["" : 20]>
decoder (int64[batch, sequence] ids) => (float[batch, sequence, 48] logits, float[batch, sequence, 4] small)
<float[48, 72] table, float[72, 80] up, float[72, 80] gemm, float[72] bias, float[72, 4] few>
{
    x = Gather(table, ids)
    wide = MatMul(x, up)
    shape = Constant<value = int64[2] {-1, 80}>()
    flat = Reshape(wide, shape)
    down = Gemm<transB = 1>(flat, gemm, bias)
    size = Shape(x)
    back = Reshape(down, size)
    turned = Transpose<perm = [1, 0]>(table)
    logits = MatMul(back, turned)
    small = MatMul(x, few)
}
"""
IDS = np.array([[1, 47, 5], [0, 2, 30]])


def normal(*shape, seed=3):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def save(folder, text=DECODER, **shapes):
    model = onnx.parser.parse_model(text)
    made = {"table": (48, 72), "up": (72, 80), "gemm": (72, 80), "bias": (72,), "few": (72, 4)} | shapes
    del model.graph.initializer[:]
    for seed, (name, shape) in enumerate(made.items()):
        model.graph.initializer.append(onnx.numpy_helper.from_array(normal(*shape, seed=seed) / 8, name))
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    return path


def write(source, out, **settings):
    """Write the graph with quantized weights; return the names of what was quantized, in order."""
    model = onnx_ir.load(source)
    before = quantizable(model.graph)
    quantize_weights(model, **settings)
    left = quantizable(model.graph)
    save_quantized(model, out)
    return tuple(name for name in before if name not in left)


def run(path, ids=IDS):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": ids})


def weights(path):
    return {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def nodes(path):
    return {node.name: node for node in onnx.load(path, load_external_data=False).graph.node}


def rounded(name, original, **settings):
    """The float32 weight that its quantized form stands for; `table` and `gemm` are stored by rows."""
    rows = original[name] if name in {"table", "gemm"} else original[name].T
    done = quantize_blocks(rows, **settings).dequantized()
    return done if name in {"table", "gemm"} else done.T


def expected(original, ids=IDS, *, quantized=("table", "up", "gemm"), **settings):
    """What the decoder computes with rounded weights, in float64."""
    w = original | {name: rounded(name, original, **settings) for name in quantized}
    w = {name: array.astype(np.float64) for name, array in w.items()}
    x = w["table"][ids]
    return (x @ w["up"] @ w["gemm"].T + w["bias"]) @ w["table"].T, x @ w["few"]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "block_size"), BOUNDS)
def test_rounding_stays_within_its_bound_and_keeps_the_shape(bits, block_size, symmetric):
    matrix = normal(96, 200)
    blocks = quantize_blocks(matrix, bits=bits, block_size=block_size, symmetric=symmetric)
    count = -(-200 // block_size)
    assert blocks.packed.shape == (96, count, block_size * bits // 8)
    assert blocks.scales.shape == (96, count)
    error = np.sqrt(np.mean(np.square(blocks.dequantized() - matrix)))
    assert error < BOUNDS[bits, block_size]


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_search_beats_plain_rounding(symmetric):
    matrix = normal(64, 128)
    found = quantize_blocks(matrix, bits=4, block_size=32, symmetric=symmetric).dequantized()
    cut = matrix.reshape(64, 4, 32)
    low = np.zeros_like(cut[..., :1]) if symmetric else cut.min(axis=-1, keepdims=True)
    scale = np.abs(cut).max(axis=-1, keepdims=True) / 7 if symmetric else (cut.max(axis=-1, keepdims=True) - low) / 15
    plain = np.rint(cut / scale) * scale
    assert np.square(found - matrix).sum() < 0.95 * np.square(plain.reshape(matrix.shape) - matrix).sum()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_and_lone_numbers_are_exact(bits, symmetric):
    matrix = np.zeros((3, 64), np.float32)
    matrix[1, 5], matrix[2, 40] = 3.0, -1e-3
    found = quantize_blocks(matrix, bits=bits, block_size=32, symmetric=symmetric).dequantized()
    np.testing.assert_allclose(found, matrix, rtol=1e-6, atol=0)


def test_one_sided_weights_gain_from_zero_points():
    matrix = np.abs(normal(32, 64)) + 0.5
    error = {
        symmetric: np.abs(
            quantize_blocks(matrix, bits=4, block_size=32, symmetric=symmetric).dequantized() - matrix
        ).mean()
        for symmetric in (True, False)
    }
    assert error[False] < 0.7 * error[True]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block_size", [32, 64, 128])
@pytest.mark.parametrize("bits", [4, 8])
def test_the_graph_computes_with_the_rounded_weights(tmp_path, bits, block_size, symmetric):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    settings = {"bits": bits, "block_size": block_size, "symmetric": symmetric}
    names = write(source, out, accuracy_level=0, embeddings=True, **settings)
    assert names == ("x", "wide", "down", "logits")
    for got, want in zip(run(out), expected(weights(source), **settings), strict=True):
        np.testing.assert_allclose(got, want, atol=2e-5, rtol=2e-5)
    kinds = [node.op_type for node in nodes(out).values()]
    assert kinds.count("MatMulNBits") == 3
    assert kinds.count("GatherBlockQuantized") == 1
    assert kinds.count("MatMul") == 1  # the four labels


@pytest.mark.parametrize("bits", [4, 8])
def test_int8_products_stay_near_the_rounded_weights(tmp_path, bits):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    write(source, out, bits=bits, block_size=32, accuracy_level=4, embeddings=True)
    want = expected(weights(source), bits=bits, block_size=32)[0]
    # Activations are rounded to 1/127 of each block's largest: three layers deep, about two percent.
    assert np.sqrt(np.mean(np.square(run(out)[0] - want))) < 0.02 * want.std()


def test_a_tied_table_is_stored_once(tmp_path):
    source, out = save(tmp_path, table=(512, WIDTH)), tmp_path / "model_q.onnx"
    write(source, out, bits=4, block_size=32, embeddings=True)
    stored = {item.name: item for item in onnx.load(out, load_external_data=False).graph.initializer}
    place = {
        name: {entry.key: entry.value for entry in stored[name].external_data}
        for name in ("table_q4_by_row", "table_q4_by_row_flat")
    }
    assert place["table_q4_by_row"] == place["table_q4_by_row_flat"]
    assert "table" not in stored
    lookup = next(node for node in nodes(out).values() if node.op_type == "GatherBlockQuantized")
    assert list(lookup.input[2:]) == list(nodes(out)["logits"].input[2:4])
    small = 80 * 96 + 72 * 96 * 2 + 4 * 72 * 4
    assert (tmp_path / "model_q.onnx_data").stat().st_size < 512 * (96 * (1 / 2 + 4 / 32) + 2) + small


def test_the_head_may_have_bits_of_its_own_and_a_tied_table_follows(tmp_path):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    write(source, out, bits=4, block_size=32, head_bits=8, embeddings=True)
    bits = {
        name: attribute.i
        for name, node in nodes(out).items()
        for attribute in node.attribute
        if attribute.name == "bits"
    }
    assert sorted(bits.values()) == [4, 4, 8, 8]
    assert bits["logits"] == 8


@pytest.mark.parametrize("name", ["wide", "down"])
def test_skipped_layers_stay_and_eight_takes_eight_bits(tmp_path, name):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    settings = {"bits": 4, "block_size": 32}
    names = write(source, out, accuracy_level=0, embeddings=True, skip=[name], **settings)
    assert set(names) == {"x", "wide", "down", "logits"} - {name}
    left = {"wide": ("table", "gemm"), "down": ("table", "up")}[name]
    want = expected(weights(source), quantized=left, **settings)[0]
    np.testing.assert_allclose(run(out)[0], want, atol=2e-5, rtol=2e-5)
    write(source, out, embeddings=True, eight=[name], **settings)
    assert sum("_q8" in name and array.ndim == 3 for name, array in weights(out).items()) == 1


def test_a_table_kept_for_the_head_stays_for_the_lookup(tmp_path):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    assert write(source, out, bits=4, block_size=32, embeddings=True, skip=["logits"]) == ("wide", "down")
    assert "table" in weights(out)


def test_without_embeddings_lookups_stay(tmp_path):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    assert write(source, out, bits=8, block_size=64) == ("wide", "down", "logits")
    np.testing.assert_array_equal(weights(out)["table"], weights(source)["table"])


def test_same_graph_same_bytes(tmp_path):
    source = save(tmp_path)
    names = quantizable(onnx_ir.load(source).graph)
    digests = set()
    for folder in "ab":
        (tmp_path / folder).mkdir()
        out = tmp_path / folder / "model_q4.onnx"
        assert write(source, out, bits=4, block_size=32, embeddings=True) == names
        data = out.with_name("model_q4.onnx_data")
        digests.add(hashlib.sha256(out.read_bytes() + data.read_bytes()).hexdigest())
        assert sorted(path.name for path in out.parent.iterdir()) == [out.name, data.name]
    assert len(digests) == 1


def test_axes_keep_their_names(tmp_path):
    source, out = save(tmp_path), tmp_path / "model_q.onnx"
    write(source, out, bits=4, block_size=32, embeddings=True)
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].shape == ["batch", "sequence", VOCABULARY]
    assert [value.name for value in session.get_outputs()] == ["logits", "small"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bits": 5}, "'bits' is 5, expected one of 4, 8"),
        ({"block_size": 48}, "'block_size' is 48"),
        ({"accuracy_level": 7}, "'accuracy_level' is 7"),
        ({"head_bits": 2}, "'head_bits' is 2"),
        ({"skip": ["nothing"]}, "no layer 'nothing'"),
        ({"eight": ["small"]}, "no layer 'small'"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, changed, said):
    settings = {"bits": 4, "block_size": 32} | changed
    with pytest.raises(UsageError, match=said):
        write(save(tmp_path), tmp_path / "model_q.onnx", **settings)
    assert not (tmp_path / "model_q.onnx").exists()


def test_a_graph_without_layers_is_refused(tmp_path):
    source = save(tmp_path)
    with pytest.raises(UnsupportedError, match="no linear layer"):
        write(source, tmp_path / "q.onnx", bits=4, block_size=32, skip=["wide", "down", "logits"])


def test_quality_is_agreement_and_divergence():
    reference = np.log(np.array([[[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]])).astype(np.float32)
    candidate = np.log(np.array([[[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]]])).astype(np.float32) + 7  # a constant is nothing
    found = measure_quality(reference, candidate)
    wanted = 0.5 * np.log(0.5 / 0.25) + 0.25 * np.log(0.25 / 0.5)
    assert found.agreement == 0.5
    assert found.kl_max == pytest.approx(wanted, rel=1e-5)
    assert found.kl_mean == pytest.approx(wanted / 2, rel=1e-5)
    assert measure_quality(reference, reference) == Quality(1.0, 0.0, 0.0)


def test_quality_of_many_positions_is_the_same_in_parts():
    reference, candidate = normal(70, 11), normal(70, 11, seed=4)
    every = [measure_quality(a, b) for a, b in zip(reference, candidate, strict=True)]
    found = measure_quality(reference, candidate)
    assert found.kl_mean == pytest.approx(np.mean([one.kl_mean for one in every]))
    assert found.kl_max == max(one.kl_max for one in every)
    assert found.agreement == pytest.approx(np.mean([one.agreement for one in every]))


def test_quality_refuses_other_shapes_and_numbers_that_are_none():
    with pytest.raises(UsageError, match="shapes"):
        measure_quality(normal(2, 5), normal(2, 6))
    with pytest.raises(UsageError, match="not empty"):
        measure_quality(normal(0, 5), normal(0, 5))
    with pytest.raises(ParityError, match="finite"):
        measure_quality(normal(2, 5), np.full((2, 5), np.nan, np.float32))


def harm(**costs):
    def evaluate(kept):
        loss = sum(cost for name, cost in costs.items() if name not in kept)
        return Quality(1 - loss, loss, loss)

    return evaluate


def test_the_harmful_nodes_are_kept_worst_first():
    costs = dict.fromkeys((f"n{i}" for i in range(32)), 0.001) | {"n5": 0.3, "n21": 0.2, "n22": 0.1}
    assert nodes_to_keep(list(costs), harm(**costs), QualityGate(kl_mean=1.0)) == ()
    assert nodes_to_keep(list(costs), harm(**costs), QualityGate(kl_mean=0.25)) == ("n5", "n21")
    assert nodes_to_keep(list(costs), harm(**costs), QualityGate(agreement=0.95)) == ("n5", "n21", "n22")
    with pytest.raises(ParityError, match="2 nodes kept"):
        nodes_to_keep(list(costs), harm(**costs), QualityGate(kl_mean=0.05), most=2)
