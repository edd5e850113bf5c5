import hashlib
from dataclasses import replace

import pytest

from tests.runtime.sessions.tensorrt.engine_bench import ENGINE, PLAN, RANGES, Bench, assert_right, feeds, write
from vitrify.runtime.bundle.engines import read_sidecar
from vitrify.runtime.errors import DependencyMissing, EnvironmentMissing, IntegrityError, UnsupportedError
from vitrify.runtime.graphs.signature import Tensor
from vitrify.runtime.sessions import installed_packages

OTHER = Tensor("other", "float32", ("batch",))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("engine", "capability", "version", "words"),
    [
        (ENGINE, "89", "1.8.0.1", r"by tensorrt-rtx 1\.7\.1\.116 for SM89, .* tensorrt-rtx 1\.8\.0\.1 and a GPU, SM89"),
        (ENGINE, "86", "1.7.1.116", r"for SM89, .*SM86\. Build one .*vitrify build-engine .*--sm 86"),
        (replace(ENGINE, sm="portable"), "75", "1.7.1.116", "for SMportable, .*SM75"),
        (replace(ENGINE, builder="tensorrt"), "89", "10.16.0.1", r"by tensorrt 1\.7\.1\.116"),
    ],
)
def test_another_release_or_gpu_is_refused_before_it_is_deserialized(tmp_path, engine, capability, version, words):
    bench = Bench(tmp_path, engine, capability=capability, version=version)
    with pytest.raises(EnvironmentMissing, match=words):
        bench.open()
    assert bench.trt.plans == []
    assert bench.gpu.closed


@pytest.mark.parametrize("capability", ["80", "89", "120"])
def test_a_portable_engine_serves_newer_gpus(tmp_path, capability):
    bench = Bench(tmp_path, replace(ENGINE, sm="portable"), capability=capability)
    with bench.open() as session:
        assert_right(session.run(feeds()), feeds())


def flipped(path):
    path.write_bytes(bytes([PLAN[0] ^ 1]) + PLAN[1:])


def removed(path):
    path.unlink()


def without_sidecar(path):
    path.with_suffix(".json").unlink()


def with_another_sidecar(path):
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace('"89"', '"86"'))


@pytest.mark.parametrize(
    "breaks", [flipped, removed, without_sidecar, with_another_sidecar], ids=lambda one: one.__name__
)
def test_a_changed_file_is_refused_before_it_is_deserialized(bench, breaks):
    breaks(bench.path)
    with pytest.raises(IntegrityError, match=r"build|was changed"):
        bench.open()
    assert bench.trt.plans == []
    assert bench.gpu.closed == (breaks in {flipped, removed})


@pytest.fixture
def stripped(tmp_path):
    """Return the bench of an engine without weights, with the graph that has them."""
    (tmp_path / "onnx").mkdir()
    sources = {}
    for name, content in {"onnx/model.onnx": b"a graph", "onnx/model.onnx_data": b"weights"}.items():
        (tmp_path / name).write_bytes(content)
        sources[name] = hashlib.sha256(content).hexdigest()
    return Bench(tmp_path, replace(ENGINE, flags={"stripped": True}, sources=sources))


def test_an_engine_without_weights_takes_those_of_its_graph(stripped):
    with stripped.open() as session:
        assert_right(session.run(feeds()), feeds())
    assert stripped.trt.refitted == [str(stripped.folder / "onnx" / "model.onnx")]


def test_an_engine_with_weights_takes_none(bench):
    bench.open().close()
    assert bench.trt.refitted == []


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx_data"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_weights_of_another_graph_are_refused(stripped, name, how):
    path = stripped.folder / "onnx" / name
    path.write_bytes(b"other") if how == "changed" else path.unlink()
    with pytest.raises(IntegrityError, match=f"'onnx/{name}', which is missing or was changed: .*--stripped"):
        stripped.open()
    assert stripped.trt.refitted == []
    assert stripped.gpu.closed


@pytest.mark.parametrize("what", ["incomplete", "fails"])
def test_weights_that_do_not_fit_are_said(stripped, what):
    setattr(stripped.trt, what, True)
    with pytest.raises(EnvironmentMissing, match=r"does not accept the weights of 'model\.onnx'"):
        stripped.open()
    assert stripped.gpu.closed


@pytest.mark.parametrize(
    ("builder", "words"),
    [("tensorrt-rtx", r"needs tensorrt_rtx .*vitrify\[rtx\]"), ("tensorrt", r"needs tensorrt .*vitrify\[tensorrt\]")],
)
@pytest.mark.parametrize("error", [ImportError("No module"), OSError("libnvinfer.so.11: cannot open")])
def test_a_missing_tensorrt_names_its_extra(tmp_path, builder, words, error):
    def load(name):
        raise error

    bench = Bench(tmp_path, replace(ENGINE, builder=builder))
    with pytest.raises(DependencyMissing, match=words):
        bench.open(load=load)
    assert bench.gpu.closed


def test_an_unknown_builder_is_no_branch_to_fall_through(tmp_path):
    with pytest.raises(IntegrityError, match="by 'tensorrt-lite', expected one of tensorrt-rtx, tensorrt"):
        Bench(tmp_path, replace(ENGINE, builder="tensorrt-lite")).open()


def test_a_plan_that_tensorrt_refuses_says_what_tensorrt_said(bench):
    bench.trt.refuses = True
    with pytest.raises(EnvironmentMissing, match="does not load on a GPU: a GPU too small"):
        bench.open()
    assert bench.gpu.closed


def test_no_room_for_a_context_says_what_tensorrt_said(bench):
    bench.trt.full = True
    with pytest.raises(EnvironmentMissing, match=r"a GPU has no room .*no memory"):
        bench.open()
    assert bench.gpu.closed


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": ENGINE.inputs[:2]},
        {"outputs": (*ENGINE.outputs, OTHER)},
        {"inputs": (replace(ENGINE.inputs[0], dtype="int64"), *ENGINE.inputs[1:])},
        {"shapes": {"decode": RANGES["decode"]}},
    ],
    ids=["an input less", "an output more", "another dtype", "a profile less"],
)
def test_an_engine_of_other_tensors_than_its_sidecar_is_refused(bench, changes):
    bench.trt.described = replace(ENGINE, **changes)
    with pytest.raises(IntegrityError, match="its sidecar says"):
        bench.open()
    assert bench.gpu.closed


def test_a_tensor_on_the_cpu_is_unsupported(bench):
    bench.trt.location = "HOST"
    with pytest.raises(UnsupportedError, match=r"'left' .*is a shape"):
        bench.open()
    assert bench.gpu.closed


def test_what_was_compiled_is_kept_for_the_next_process(tmp_path):
    first = Bench(tmp_path)
    first.open().close()
    assert first.trt.compiled == [0, 1]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{ENGINE.sha256}.cache"]
    second = Bench(tmp_path)
    second.open().close()
    assert second.trt.compiled == []


@pytest.mark.parametrize("content", [b"", b"of another GPU"])
def test_a_cache_that_tensorrt_refuses_is_made_anew(bench, content):
    path = bench.folder / "cache" / f"{ENGINE.sha256}.cache"
    path.parent.mkdir()
    path.write_bytes(content)
    bench.open().close()
    assert bench.trt.compiled == [0, 1]
    assert path.read_bytes() == b"cache\0\1"


def test_a_cache_that_cannot_be_written_is_no_error(bench):
    (bench.folder / "cache").write_text("a file")
    with bench.open() as session:
        assert_right(session.run(feeds()), feeds())


def test_standard_tensorrt_has_no_runtime_cache(tmp_path):
    bench = Bench(tmp_path, replace(ENGINE, builder="tensorrt"))
    with bench.open() as session:
        assert_right(session.run(feeds()), feeds())
    assert bench.names == ["tensorrt"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.skipif("tensorrt-rtx" not in installed_packages(), reason="vitrify[rtx] is absent")
def test_the_real_tensorrt_rtx_refuses_what_is_no_engine(bench):
    import tensorrt_rtx

    engine = replace(ENGINE, version=tensorrt_rtx.__version__)
    path = write(bench.folder, engine)
    assert read_sidecar(path.with_suffix(".json")) == engine
    bench.path = path
    with pytest.raises(EnvironmentMissing, match=r"does not load on a GPU: .*Error Code"):
        bench.open(load=lambda _: tensorrt_rtx)
    assert bench.gpu.closed
