import concurrent.futures
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests.runtime.sessions.tiny import TABLE, TINY, WEIGHT, assert_right, cpu, feeds, save
from vitrify.profiles import load_profile
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.machine import this_machine
from vitrify.runtime.sessions import installed_packages, open_session
from vitrify.runtime.sessions.opening import Opening

pytestmark = pytest.mark.skipif("openvino" not in installed_packages(), reason="vitrify[openvino] is absent")
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "onnx" / "model.onnx", TINY, table=TABLE, weight=WEIGHT)


def test_openvino_without_bfloat16_hardware_is_refused(path):
    with pytest.raises(EnvironmentMissing, match=r"a CPU.*neither AMX-BF16 nor AVX512-BF16"):
        open_session(
            path,
            provider="openvino",
            options={"INFERENCE_PRECISION_HINT": "bf16"},
            opening=Opening(machine=cpu("avx2")),
            installed={"openvino"},
        )


def test_openvino_runs_the_graph_alike_in_float32_and_prints_nothing(path, capfd):
    with open_session(path, provider="openvino", options=FLOAT32) as session:
        assert session.providers == ("OpenVINO",)
        assert [str(tensor) for tensor in session.inputs] == ["int64[batch, sequence]", "float32[batch, 3]"]
        for given in (feeds(), feeds(1, 1), feeds(4, 7)):
            assert_right(session.run(given), given)
        with pytest.raises(UsageError, match="got float64"):
            session.run(feeds(image=np.ones((2, 3))))
    assert capfd.readouterr() == ("", "")


def test_threads_may_share_an_openvino_session(path):
    cases = [feeds(1 + index % 3, 1 + index % 5) for index in range(64)]
    with (
        open_session(path, provider="openvino", options=FLOAT32) as session,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        for given, outputs in zip(cases, pool.map(session.run, cases), strict=True):
            assert_right(outputs, given)


@pytest.mark.skipif(not this_machine().has_any(load_profile("cpu-bf16").requires), reason="no bfloat16 in this CPU")
def test_openvino_in_bfloat16_is_bfloat16(path):
    given = feeds(image=np.full((2, 3), 1.001, np.float32))
    with open_session(path, provider="openvino", options=load_profile("cpu-bf16").options) as session:
        mixed = session.run(given)["mixed"]
    error = np.abs(mixed - given["image"] @ WEIGHT).max()
    assert 1e-5 < error < 2e-2


def test_what_openvino_answered_stays_when_it_runs_again(path):
    with open_session(path, provider="openvino", options=FLOAT32) as session:
        first = session.run(feeds())
        kept = {name: array.copy() for name, array in first.items()}
        session.run(feeds(image=np.zeros((2, 3), np.float32)))
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


GROWING = """
<ir_version: 10, opset_import: ["" : 20]>
growing (float[batch, past, 2] cache, float[batch, new, 2] more, bool[batch] flag)
    => (float[batch, total, 2] present, bool[batch] turned)
{
    present = Concat <axis = 1> (cache, more)
    turned = Not(flag)
}
"""


def test_openvino_takes_arrays_that_are_empty_read_only_or_strided(tmp_path):
    path = save(tmp_path / "onnx" / "model.onnx", GROWING)
    more = np.arange(12, dtype=np.float32).reshape(3, 2, 2).transpose(1, 0, 2)
    flag = np.array([True, False])
    flag.flags.writeable = False
    with open_session(path, provider="openvino", options=FLOAT32) as session:
        for past in (0, 2):
            cache = np.ones((2, past, 2), np.float32)
            made = session.run({"cache": cache, "more": more, "flag": flag})
            np.testing.assert_array_equal(made["present"], np.concatenate([cache, more], axis=1))
            np.testing.assert_array_equal(made["turned"], ~flag)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"NO_SUCH": "1"}, UsageError, "an option of the profile is none of OpenVINO's .*NO_SUCH"),
        ({"PERFORMANCE_HINT": "FAST"}, UsageError, "a value that OpenVINO does not accept"),
    ],
)
def test_a_property_that_openvino_does_not_take_is_refused(path, options, error, words):
    with pytest.raises(error, match=words) as caught:
        open_session(path, provider="openvino", options=options)
    assert "\n" not in str(caught.value)
    assert ".cpp" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "not an ONNX graph, or only a part of one"),
        (lambda path: path.with_name("model.onnx_data").unlink(), "is missing"),
        (lambda path: path.unlink(), "is missing"),
    ],
)
def test_a_graph_that_is_broken_for_openvino_says_so(path, spoil, words, capfd):
    spoil(path)
    with pytest.raises(IntegrityError, match=words):
        open_session(path, provider="openvino", options=FLOAT32)
    assert capfd.readouterr() == ("", "")


KEEPING = """
<ir_version: 10, opset_import: ["" : 20]>
keeping (float[rows] x, int64[] keep) => (float[kept] y)
<int64[1] first = {-1}, int64[1] most = {9223372036854775807}, int64[1] axis = {0}>
{
    from = Neg(keep)
    start = Reshape(from, first)
    y = Slice(x, start, most, axis)
}
"""


def test_an_input_that_has_a_value_need_not_be_given_to_openvino(tmp_path):
    model = onnx.parser.parse_model(KEEPING)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "keep"))
    path = tmp_path / "onnx" / "model.onnx"
    path.parent.mkdir()
    onnx.save(model, path)
    x = np.arange(5, dtype=np.float32)
    for provider in ("cpu", "openvino"):
        with open_session(path, provider=provider) as session:
            assert [tensor.name for tensor in session.inputs] == ["x"]
            assert [str(tensor) for tensor in session.optional] == ["int64[]"]
            np.testing.assert_array_equal(session.run({"x": x})["y"], x[-1:])
            np.testing.assert_array_equal(session.run({"x": x, "keep": np.array(3)})["y"], x[-3:])
            np.testing.assert_array_equal(session.run({"x": x})["y"], x[-1:])


@pytest.mark.parametrize("elsewhere", ["../model.onnx_data", "/etc/hostname", "..\\secret"])
def test_weights_from_elsewhere_are_not_read(path, elsewhere):
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        next(entry for entry in tensor.external_data if entry.key == "location").value = elsewhere
    path.write_bytes(model.SerializeToString())
    with pytest.raises(IntegrityError, match=r"wants weights from .* which is not next to it"):
        open_session(path, provider="openvino")


def test_a_closed_openvino_session_says_so(path):
    session = open_session(path, provider="openvino", options=FLOAT32)
    session.run(feeds())
    session.close()
    with pytest.raises(UsageError, match=r"'onnx/model\.onnx' is closed: open it again"):
        session.run(feeds())


def test_openvino_is_imported_once_and_without_what_reports_it(path):
    code = (
        "import concurrent.futures as f, sys; from pathlib import Path; "
        "from vitrify.runtime.sessions import open_session; "
        f"path = Path({str(path)!r}); "
        f"open_one = lambda _: open_session(path, provider='openvino', options={FLOAT32!r});"
        "print(*(session.providers[0] for session in f.ThreadPoolExecutor(4).map(open_one, range(4))),"
        " 'openvino_telemetry' in sys.modules, 'onnxruntime' in sys.modules);"
        "import openvino; print(callable(openvino.convert_model))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["OpenVINO"] * 4 + ["False", "False", "True"]


def test_openvino_refuses_an_operator_that_it_does_not_know(tmp_path):
    text = TINY.replace("mixed = MatMul(image, weight)", "mixed = com.microsoft.Inverse(x)").replace(
        '"" : 20', '"" : 20, "com.microsoft" : 1'
    )
    text = text.replace("mixed = com", "x = MatMul(image, weight) mixed = com")
    path = save(tmp_path / "onnx" / "model.onnx", text, table=TABLE, weight=WEIGHT)
    open_session(path, provider="cpu").close()
    with pytest.raises(UnsupportedError, match=r"OpenVINO does not know one of its operators .*Inverse"):
        open_session(path, provider="openvino", options=FLOAT32)
