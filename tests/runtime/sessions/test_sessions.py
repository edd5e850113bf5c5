import concurrent.futures
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from tests.runtime.sessions.tiny import TABLE, TINY, WEIGHT, assert_right, cpu, feeds, save
from vitrify.runtime.errors import DependencyMissing, EnvironmentMissing, IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.graphs.signature import Tensor
from vitrify.runtime.sessions import BACKENDS, installed_packages, open_session
from vitrify.runtime.sessions.onnxruntime.cpu import cpu_options
from vitrify.runtime.sessions.opening import Opening


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "onnx" / "model.onnx", TINY, table=TABLE, weight=WEIGHT)


def test_a_graph_says_what_it_takes_and_gives_and_runs_at_any_size(path):
    with open_session(path, provider="cpu") as session:
        assert session.inputs == (
            Tensor("ids", "int64", ("batch", "sequence")),
            Tensor("image", "float32", ("batch", 3)),
        )
        assert session.outputs == (
            Tensor("rows", "float32", ("batch", "sequence", 4)),
            Tensor("mixed", "float32", ("batch", 4)),
        )
        assert session.providers == ("CPUExecutionProvider",)
        for given in (feeds(), feeds(1, 1), feeds(4, 7), feeds(2, 0)):
            assert_right(session.run(given), given)


@pytest.mark.parametrize(
    "given",
    [
        feeds(ids=np.array([[1], [2]], np.int32)),
        feeds(ids=np.array([[1], [2]], np.uint8)),
        feeds(ids=np.array([[True], [False]])),
        feeds(ids=np.array([[1], [2]], ">i8")),
        feeds(image=np.ones((2, 3), ">f4")),
        feeds(image=np.ones((3, 2), np.float32).T),
        feeds(ids=np.arange(20, dtype=np.int64).reshape(2, 10)[:, ::3] % 5),
    ],
    ids=["int32", "uint8", "bool", "big-endian", "big-endian float", "transposed", "strided"],
)
def test_what_loses_nothing_is_taken(path, given):
    with open_session(path, provider="cpu") as session:
        assert_right(session.run(given), given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ids": feeds()["ids"]}, "missing required input 'image' (float32[batch, 3]) of graph 'onnx/model.onnx'"),
        (feeds(more=np.ones(1)), "graph 'onnx/model.onnx' has no input 'more' (its inputs: ids, image)"),
        (feeds(ids=[[1, 2]]), "input 'ids' of graph 'onnx/model.onnx': got a list, expected int64[batch, sequence]"),
        (feeds(ids=np.ones((2, 3), np.float32)), "got float32[2, 3], expected int64[batch, sequence]"),
        (feeds(ids=np.ones((2, 3), np.uint64)), "got uint64[2, 3], expected int64[batch, sequence]"),
        (feeds(image=np.ones((2, 3))), "got float64[2, 3], expected float32[batch, 3]"),
        (feeds(image=np.ones((2, 3), np.float16)), "got float16[2, 3], expected float32[batch, 3]"),
        (feeds(image=np.ones((2, 3), np.uint8)), "got uint8[2, 3], expected float32[batch, 3]"),
        (feeds(ids=np.ones(3, np.int64)), "got int64[3], expected int64[batch, sequence]"),
        (feeds(image=np.ones((2, 4), np.float32)), "got float32[2, 4], expected float32[batch, 3] where batch = 2"),
        (feeds(image=np.ones((5, 3), np.float32)), "got float32[5, 3], expected float32[batch, 3] where batch = 2"),
        (
            feeds(ids=np.full((2, 3), 99)),
            "graph 'onnx/model.onnx': ids contains 99, and the model's table has 5 rows (0 to 4): the tokenizer",
        ),
    ],
)
def test_what_cannot_be_right_is_refused_in_words_and_nothing_is_printed(path, given, words, capfd):
    with open_session(path, provider="cpu") as session, pytest.raises(UsageError) as caught:
        session.run(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


OTHER = """
<ir_version: 10, opset_import: ["" : 20]>
other (int64[{rows}, {tokens}] ids) => (float[rows, tokens, 1] sums)
<float[1, 3, 1] table = {{1, 2, 3}}, int64[1] last = {{2}}>
{{
    numbers = Cast<to = 1>(ids)
    states = Unsqueeze(numbers, last)
    sums = Add(states, table)
}}
"""


def run_refused(path, ids):
    with open_session(path, provider="cpu") as session, pytest.raises(UsageError) as caught:
        session.run({"ids": ids})
    return str(caught.value)


def save_other(path, *, rows="rows", tokens="tokens"):
    onnx.save(onnx.parser.parse_model(OTHER.format(rows=rows, tokens=tokens)), path)
    return path


def test_a_text_longer_than_the_positions_is_told_the_length_to_cut_at(tmp_path):
    said = run_refused(save_other(tmp_path / "model.onnx"), np.ones((1, 5), np.int64))
    assert "5 tokens are more than this model has positions. Shorten the text, or set the tokenizer's" in said
    assert "model_max_length to 3 and pass truncation=True" in said


@pytest.mark.parametrize(
    ("sizes", "given", "advice"),
    [
        ({"tokens": 3}, (1, 2), 'exported for 3 tokens only: pass padding="max_length", truncation=True, max_length=3'),
        ({"rows": 1}, (2, 3), "exported for 1 rows only: pass batch_size=1"),
    ],
)
def test_a_graph_of_one_size_says_how_to_get_there(tmp_path, sizes, given, advice):
    assert advice in run_refused(save_other(tmp_path / "model.onnx", **sizes), np.ones(given, np.int64))


def test_a_closed_session_says_so(path):
    session = open_session(path, provider="cpu")
    session.close()
    session.close()
    with pytest.raises(UsageError, match="is closed"):
        session.run(feeds())


def test_threads_may_share_a_session(path):
    cases = [feeds(1 + index % 3, 1 + index % 5) for index in range(64)]
    with open_session(path, provider="cpu") as session, concurrent.futures.ThreadPoolExecutor(4) as pool:
        for given, outputs in zip(cases, pool.map(session.run, cases), strict=True):
            assert_right(outputs, given)


def test_checking_costs_microseconds(path):
    given = feeds(8, 128)
    with open_session(path, provider="cpu") as session:
        durations = []
        for _ in range(200):
            start = time.perf_counter()
            session._checked(given)
            durations.append(time.perf_counter() - start)
    assert min(durations) < 20e-6


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_protobuf(path):
    path.write_bytes(b"this is no graph")


def emptied(path):
    path.write_bytes(b"")


def without_weights(path):
    path.with_name("model.onnx_data").unlink()


def truncated_weights(path):
    path.with_name("model.onnx_data").write_bytes(b"\0" * 8)


def removed(path):
    path.unlink()


@pytest.mark.parametrize(
    "breaks",
    [truncated, no_protobuf, emptied, without_weights, truncated_weights, removed],
    ids=lambda one: one.__name__,
)
def test_a_broken_graph_is_an_integrity_error_and_nothing_is_printed(path, breaks, capfd):
    breaks(path)
    with pytest.raises(IntegrityError, match=r"model\.onnx") as caught:
        open_session(path, provider="cpu")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("ir_version: 10", "ir_version: 99"), EnvironmentMissing, "too old"),
        (('"" : 20', '"" : 99'), EnvironmentMissing, "too old"),
        (("Gather(table", "Unheard(table"), UnsupportedError, "does not know"),
    ],
)
def test_a_graph_from_the_future_says_so(tmp_path, change, error, words):
    path = save(tmp_path / "onnx" / "model.onnx", TINY.replace(*change), table=TABLE, weight=WEIGHT)
    with pytest.raises(error, match=words):
        open_session(path, provider="cpu")


H200 = cpu(gpus=("H200",))


@pytest.mark.parametrize(
    ("arguments", "installed", "error", "words"),
    [
        ({"provider": "tpu"}, {"onnxruntime"}, UsageError, "got 'tpu', expected one of cpu, openvino, cuda"),
        ({"provider": "cpu"}, set(), DependencyMissing, r"pip install 'vitrify\[cpu\]'"),
        (
            {"provider": "cpu"},
            {"onnxruntime", "onnxruntime-gpu"},
            EnvironmentMissing,
            "both installed .* pip uninstall",
        ),
        ({"provider": "openvino"}, {"onnxruntime"}, DependencyMissing, r"pip install 'vitrify\[openvino\]'"),
        ({"provider": "cpu", "opening": Opening(0)}, {"onnxruntime"}, UsageError, "threads: got 0"),
        ({"provider": "cpu", "opening": Opening(100_000)}, {"onnxruntime"}, UsageError, "threads: got 100000"),
        (
            {"provider": "cuda", "opening": Opening(machine=cpu())},
            {"onnxruntime"},
            EnvironmentMissing,
            "needs an NVIDIA GPU",
        ),
        ({"provider": "cuda", "opening": Opening(machine=H200)}, {"onnxruntime"}, DependencyMissing, "onnxruntime-gpu"),
    ],
)
def test_what_is_missing_or_wrong_is_said(path, arguments, installed, error, words):
    with pytest.raises(error, match=words):
        open_session(path, **arguments, installed=installed)


def test_what_is_installed_is_what_the_metadata_says():
    from importlib import metadata

    found = installed_packages()
    for package in ("onnxruntime", "onnxruntime-gpu", "openvino", "numpy", "no-such-package"):
        try:
            assert (package in found) == bool(metadata.version(package))
        except metadata.PackageNotFoundError:
            assert package not in found


def test_opening_imports_only_the_backend_asked_for(path):
    code = (
        "import sys; from pathlib import Path; from vitrify.runtime.sessions import open_session;"
        f"assert 'onnxruntime' not in sys.modules; open_session(Path({str(path)!r}), provider='cpu').close();"
        "watched = ('vitrify.runtime.sessions.', 'torch', 'importlib.metadata');"
        "print(*(name for name in sys.modules if name.startswith(watched)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = (
        "base",
        "meanings",
        "opening",
        "telemetry",
        *(f"onnxruntime{each}" for each in ("", ".base", ".bfloat16", ".cpu")),
    )
    assert set(out.stdout.split()) == {f"vitrify.runtime.sessions.{name}" for name in names}
    assert out.stderr == ""


def test_every_row_names_a_module_of_this_package():
    import importlib

    for row in BACKENDS.values():
        assert callable(getattr(importlib.import_module(row.module, "vitrify.runtime.sessions"), row.opens))


EXACT = "session.x64quantprecision"
UNFUSED = "optimization.disable_specified_optimizers"
PRODUCT = """
<ir_version: 10, opset_import: ["" : 20]>
product (uint8[rows, 64] x) => (int32[rows, 32] y) <int8[64, 32] weight> { y = MatMulInteger(x, weight) }
"""


def test_int8_products_are_exact_where_two_of_them_pass_16_bits(tmp_path):
    path = save(tmp_path / "onnx" / "product.onnx", PRODUCT, weight=np.full((64, 32), 127, np.int8))
    with open_session(path, provider="cpu", options={EXACT: "1"}, opening=Opening(1)) as session:
        made = session.run({"x": np.full((3, 64), 255, np.uint8)})
    np.testing.assert_array_equal(made["y"], np.full((3, 32), 64 * 255 * 127, np.int32))


@pytest.mark.parametrize(("features", "asked"), [(("avx2",), True), (("avx512_vnni",), False), (("avx_vnni",), False)])
def test_exact_kernels_are_asked_for_only_where_products_may_overflow(features, asked):
    options = cpu_options({EXACT: "1", "session.other": "2"}, Opening(1, cpu(*features)))
    assert options.get_session_config_entry("session.other") == "2"
    if asked:
        assert options.get_session_config_entry(EXACT) == "1"
    else:
        with pytest.raises(RuntimeError, match=EXACT):
            options.get_session_config_entry(EXACT)


@pytest.mark.parametrize(("entries", "found"), [({}, "SkipLayerNormFusion"), ({UNFUSED: ""}, "")])
def test_norms_are_not_fused_unless_a_setting_says_so(entries, found):
    assert cpu_options(entries, Opening(1, cpu())).get_session_config_entry(UNFUSED) == found


@pytest.mark.parametrize("varied", [True, False])
def test_memory_is_planned_unless_shapes_vary(varied):
    assert cpu_options({}, Opening(1, cpu(), varied=varied)).enable_mem_pattern is not varied
