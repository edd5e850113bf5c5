import numpy as np
import onnx
import onnx_ir
import pytest

from vitrify.export.passes.precision.quantize_dynamic import quantize_dynamic
from vitrify.export.saving import save_quantized
from vitrify.profiles import load_profile
from vitrify.runtime.errors import UnsupportedError
from vitrify.runtime.sessions import open_session

LAYERS = """
<ir_version: 10, opset_import: ["" : 20]>
layers (int64[batch, sequence] ids) => (float[batch, sequence, 40] mixed, float[rows, 4] labels)
<float[50, 32] table, float[32, 48] first, float[32, 48] second,
 float[40, 48] by_row, float[40] bias, float[48, 4] head>
{
    x = Gather(table, ids)
    one = MatMul(x, first)
    two = MatMul(x, second)
    both = Mul(one, two)
    shape = Constant<value = int64[2] {-1, 48}>()
    flat = Reshape(both, shape)
    dense = Gemm<transB = 1>(flat, by_row, bias)
    size = Shape(one)
    wide = Constant<value = int64[1] {40}>()
    zero = Constant<value = int64[1] {0}>()
    end = Constant<value = int64[1] {2}>()
    lead = Slice(size, zero, end)
    out = Concat<axis = 0>(lead, wide)
    mixed = Reshape(dense, out)
    labels = MatMul(flat, head)
}
"""


def weights(spread=1.0):
    rng = np.random.default_rng(7)
    shapes = {
        "table": (50, 32),
        "first": (32, 48),
        "second": (32, 48),
        "by_row": (40, 48),
        "bias": (40,),
        "head": (48, 4),
    }
    made = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    # Columns of very different size, as trained weights have them: what one scale for all would lose.
    made["first"] *= np.geomspace(1, spread, 48, dtype=np.float32)
    return made


def save(folder, text=LAYERS, **arrays):
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    return path


def write(source, out, **settings):
    model = onnx_ir.load(source)
    quantize_dynamic(model, **settings)
    save_quantized(model, out)


def run(path, *, batch=3, sequence=5):
    ids = np.random.default_rng(1).integers(0, 50, (batch, sequence))
    with open_session(path, provider="cpu", options=load_profile("cpu-int8").options) as session:
        assert [tensor.axes for tensor in session.inputs] == [("batch", "sequence")]
        return session.run({"ids": ids})


def drift(got, expected):
    return {name: np.abs(got[name] - expected[name]).max() / np.abs(expected[name]).max() for name in expected}


def operators(path):
    nodes = onnx.load(path, load_external_data=False).graph.node
    return [node.op_type for node in nodes]


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "onnx", **weights())


@pytest.mark.parametrize("embeddings", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 5), (2, 17)])
def test_the_graph_stays_within_its_profiles_tolerance_at_any_size(path, embeddings, sizes):
    out = path.with_name("model_int8.onnx")
    write(path, out, embeddings=embeddings)
    batch, sequence = sizes
    got, expected = (run(one, batch=batch, sequence=sequence) for one in (out, path))
    assert {name: array.shape for name, array in got.items()} == {
        "mixed": (batch, sequence, 40),
        "labels": (batch * sequence, 4),
    }
    limit = load_profile("cpu-int8").tolerance.relative
    assert all(0 < value < min(limit, 0.05) for value in drift(got, expected).values())


def test_layers_become_int8_and_share_what_they_read(path):
    out = path.with_name("model_int8.onnx")
    write(path, out)
    found = operators(out)
    assert found.count("MatMulInteger") == 3
    assert found.count("DynamicQuantizeLinear") == 2
    assert found.count("MatMul") == 1, "the head of four labels stays"
    assert "Gemm" not in found


def test_weights_are_signed_and_a_quarter_of_the_size(tmp_path):
    rng = np.random.default_rng(0)
    text = LAYERS.replace("float[50, 32]", "float[5000, 32]")
    table = rng.standard_normal((5000, 32)).astype(np.float32)
    path = save(tmp_path / "onnx", text, **(weights() | {"table": table}))
    out = path.with_name("model_int8.onnx")
    write(path, out, embeddings=True)
    kept = {tensor.name: tensor.data_type for tensor in onnx.load(out, load_external_data=False).graph.initializer}
    assert {name for name, kind in kept.items() if kind == onnx.TensorProto.INT8} == {
        "table_int8_by_row",
        "first_int8_by_column",
        "second_int8_by_column",
        "by_row_int8_by_row",
    }
    assert not {"table", "first", "second", "by_row"} & set(kept)
    ratio = out.with_name("model_int8.onnx_data").stat().st_size / path.with_name("model.onnx_data").stat().st_size
    assert ratio < 0.30


def test_a_scale_per_channel_is_what_saves_uneven_weights(tmp_path):
    path = save(tmp_path / "onnx", **weights(spread=1000.0))
    # The small columns decide `labels` once the large ones are divided out again.
    error = {}
    for per_channel in (True, False):
        out = path.with_name(f"model_{per_channel}.onnx")
        write(path, out, per_channel=per_channel)
        model = onnx.load(out)
        scales = {
            one.name: onnx.numpy_helper.to_array(one)
            for one in model.graph.initializer
            if one.name.startswith("first_scale")
        }
        whole = next(one for one in model.graph.initializer if one.name.startswith("first_int8"))
        [scale] = scales.values()
        assert scale.shape == ((48,) if per_channel else ())
        restored = onnx.numpy_helper.to_array(whole) * scale
        exact = weights(spread=1000.0)["first"]
        error[per_channel] = (np.abs(restored - exact) / np.abs(exact).max(axis=0)).max()
    assert error[True] < 1 / 250
    assert error[False] > 0.5


def test_a_column_of_zeros_gives_zeros(tmp_path):
    arrays = weights()
    arrays["first"][:, 3] = 0
    path = save(tmp_path / "onnx", **arrays)
    out = path.with_name("model_int8.onnx")
    write(path, out, embeddings=True)
    assert all(np.isfinite(array).all() for array in run(out).values())


def test_same_bytes_each_time_and_nothing_else_changes(path):
    before = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    out = path.with_name("model_int8.onnx")
    written = []
    for _ in range(2):
        write(path, out, embeddings=True)
        written.append([one.read_bytes() for one in (out, out.with_name("model_int8.onnx_data"))])
    assert written[0] == written[1]
    after = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"model_int8.onnx", "model_int8.onnx_data"}


def test_a_failed_write_leaves_nothing(path):
    out = path.parent / "taken.onnx"
    out.mkdir()
    (out / "kept").touch()
    before = set(path.parent.iterdir())
    with pytest.raises(OSError, match=r"taken\.onnx"):
        write(path, out)
    assert {one for one in path.parent.iterdir() if one.name.startswith(".")} == set()
    assert set(path.parent.iterdir()) - before <= {out.with_name("taken.onnx_data")}


def test_a_graph_without_linear_layers_is_refused(tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    lookup (int64[batch, sequence] ids) => (float[batch, sequence, 32] rows) <float[50, 32] table>
    { rows = Gather(table, ids) }
    """
    path = save(tmp_path / "onnx", text, table=weights()["table"])
    with pytest.raises(UnsupportedError, match="no linear layer to quantize"):
        write(path, path.with_name("model_int8.onnx"), embeddings=True)


@pytest.mark.parametrize(
    "head", ["Gemm<transB = 1>(flat, table)", "MatMul(flat, turned)"], ids=["by rows", "transposed"]
)
def test_a_matrix_shared_by_a_lookup_and_a_layer_is_stored_once(head, tmp_path):
    text = f"""
    <ir_version: 10, opset_import: ["" : 20]>
    tied (int64[batch, sequence] ids) => (float[rows, 50] scores) <float[50, 32] table>
    {{
        x = Gather(table, ids)
        shape = Constant<value = int64[2] {{-1, 32}}>()
        flat = Reshape(x, shape)
        turned = Transpose<perm = [1, 0]>(table)
        scores = {head}
    }}
    """
    path = save(tmp_path / "onnx", text, table=weights()["table"])
    out = path.with_name("model_int8.onnx")
    write(path, out, embeddings=True)
    kinds = [tensor.data_type for tensor in onnx.load(out, load_external_data=False).graph.initializer]
    assert kinds.count(onnx.TensorProto.INT8) == 1
    assert out.with_name("model_int8.onnx_data").stat().st_size < 50 * 32 * 4  # no float32 table is left
    assert drift(run(out), run(path))["scores"] < 0.05


def test_a_matrix_shared_by_layers_takes_seven_bits(tmp_path):
    """ONNX Runtime's exact kernels for CPUs without VNNI refuse it otherwise; 2 * 255 * 64 fits 16 bits."""
    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    deep (int64[batch, sequence] ids) => (float[batch, sequence, 32] y) <float[50, 32] table, float[32, 32] layer>
    {
        x = Gather(table, ids)
        first = MatMul(x, layer)
        middle = Tanh(first)
        y = MatMul(middle, layer)
    }
    """
    layer = np.random.default_rng(3).standard_normal((32, 32)).astype(np.float32)
    path = save(tmp_path / "onnx", text, table=weights()["table"], layer=layer / 6)
    out = path.with_name("model_int8.onnx")
    write(path, out)
    (whole,) = [item for item in onnx.load(out).graph.initializer if item.name == "layer_int8_by_column"]
    assert np.abs(onnx.numpy_helper.to_array(whole)).max() == 64
    options = load_profile("cpu-int8").options
    with open_session(out, provider="cpu", options=options) as session:
        ids = np.random.default_rng(1).integers(0, 50, (3, 5))
        assert drift(session.run({"ids": ids}), run(path))["y"] < 0.05
