import gc
import weakref
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from tests.graphs import GROWING
from tests.runtime.sessions.fake_gpu import FakeGpu
from tests.runtime.sessions.onnxruntime.fake_onnxruntime import FakeOnnxRuntime
from tests.runtime.sessions.tensorrt.engine_bench import write
from vitrify.profiles import PROVIDERS
from vitrify.runtime.errors import DependencyMissing, EnvironmentMissing, UnsupportedError, UsageError
from vitrify.runtime.machine import Machine, this_machine
from vitrify.runtime.sessions import BACKENDS, check_device, check_packages, open_session
from vitrify.runtime.sessions.onnxruntime.cuda import CudaSession
from vitrify.runtime.sessions.onnxruntime.cuda_graphs import MOST
from vitrify.runtime.sessions.onnxruntime.strict import COMPUTING
from vitrify.runtime.sessions.onnxruntime.tensorrt import OrtTensorRtSession
from vitrify.runtime.sessions.onnxruntime.tensorrt_rtx import OrtTensorRtRtxSession
from vitrify.runtime.sessions.opening import Opening

CPU, CUDA, TRT, RTX = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt", "NvTensorRTRTX"))
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
tiny (float[batch, 3] image) => (float[batch, 2] scores, int64[2] sizes)
<float[3, 2] weight = {1, 2, 3, 4, 5, 6}>
{
    [measure] sizes = Shape(image)
    [project] scores = MatMul(image, weight)
}
"""
IMAGE = {"image": np.ones((2, 3), np.float32)}
GPU_PROVIDERS = [name for name, row in BACKENDS.items() if row.device]
NO_GPU = Machine(cpu_features=frozenset(), cores=1, memory_bytes=1 << 30, model_name="a CPU")
ONE_GPU = Machine(cpu_features=frozenset(), cores=1, memory_bytes=1 << 30, model_name="a CPU", gpus=("NVIDIA L4",))
INSTALLED = {"onnxruntime-gpu", "tensorrt-rtx", "onnxruntime-ep-nv-tensorrt-rtx-cu13"}
PLUGIN = SimpleNamespace(get_library_path=lambda: "plugin.so")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "onnx").mkdir()
    path = tmp_path / "onnx" / "model.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    return path


def cuda(ort, path, **options):
    return CudaSession(path, options=options, opening=Opening(machine=ONE_GPU), load=lambda: ort)


def tensorrt(ort, path, **options):
    return OrtTensorRtSession(
        path, options=options, opening=Opening(machine=ONE_GPU), load=lambda: ort, load_module=lambda _: None
    )


def tensorrt_rtx(ort, path, *, gpu=None, load_plugin=lambda _: PLUGIN, **options):
    return OrtTensorRtRtxSession(
        path,
        options=options,
        opening=Opening(machine=ONE_GPU),
        load=lambda: ort,
        load_plugin=load_plugin,
        driver=lambda: gpu or FakeGpu(),
    )


STRICT = pytest.mark.parametrize(
    ("opens", "provider"), [(cuda, CUDA), (tensorrt, TRT), (tensorrt_rtx, RTX)], ids=["cuda", "tensorrt", "rtx"]
)


def runtime(*opened, **changes):
    return FakeOnnxRuntime(*opened, **{"built": (TRT, CUDA), "offers": (RTX,), **changes})


def test_every_provider_that_a_profile_may_name_has_a_row():
    assert tuple(BACKENDS) == PROVIDERS
    assert GPU_PROVIDERS == ["cuda", "tensorrt", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx"]


@pytest.mark.parametrize("provider", GPU_PROVIDERS)
@pytest.mark.parametrize("installed", [set(), INSTALLED], ids=["nothing installed", "all installed"])
def test_without_a_gpu_there_is_an_error_that_says_what_to_use(path, provider, installed):
    with pytest.raises(EnvironmentMissing, match=r"needs an NVIDIA GPU .*nothing falls back") as caught:
        open_session(path, provider=provider, opening=Opening(machine=NO_GPU), installed=installed)
    assert caught.value.exit_code == 8
    with pytest.raises(EnvironmentMissing, match="needs an NVIDIA GPU"):
        check_device(provider, NO_GPU)
    check_device(provider, ONE_GPU)


@pytest.mark.skipif(bool(this_machine().gpus), reason="there is a GPU")
@pytest.mark.parametrize("provider", GPU_PROVIDERS)
@pytest.mark.parametrize("machine", [this_machine(), ONE_GPU], ids=["this machine", "a machine that claims one"])
def test_on_this_machine_no_session_opens(tmp_path, path, provider, machine):
    target = write(tmp_path) if provider == "tensorrt" else path
    with pytest.raises(EnvironmentMissing) as caught:
        open_session(target, provider=provider, opening=Opening(machine=machine), installed=INSTALLED)
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("provider", "installed", "words"),
    [
        ("cuda", {"onnxruntime"}, r"needs onnxruntime-gpu, .*pip uninstall -y onnxruntime.*vitrify\[gpu\]"),
        ("onnxruntime-tensorrt", {"onnxruntime"}, r"needs onnxruntime-gpu, .*vitrify\[gpu\]"),
        ("tensorrt", {"onnxruntime-gpu"}, r"needs tensorrt-rtx, .*vitrify\[rtx\]"),
        ("onnxruntime-tensorrt-rtx", {"onnxruntime"}, "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"),
        ("onnxruntime-tensorrt-rtx", {"onnxruntime-ep-nv-tensorrt-rtx-cu13"}, r"needs onnxruntime, .*vitrify\[cpu\]"),
    ],
)
def test_a_missing_package_is_named_with_its_command(path, provider, installed, words):
    with pytest.raises(DependencyMissing, match=words):
        open_session(path, provider=provider, opening=Opening(machine=ONE_GPU), installed=installed)


@pytest.mark.parametrize(
    ("provider", "installed"),
    [
        ("tensorrt", {"tensorrt-rtx-cu13"}),
        ("tensorrt", {"tensorrt"}),
        ("tensorrt", {"tensorrt-rtx", "onnxruntime", "onnxruntime-gpu"}),
        ("onnxruntime-tensorrt-rtx", {"onnxruntime", "onnxruntime-ep-nv-tensorrt-rtx-cu12"}),
        ("onnxruntime-tensorrt-rtx", {"onnxruntime-gpu", "onnxruntime-ep-nv-tensorrt-rtx-cu13"}),
    ],
)
def test_what_suffices_is_enough(provider, installed):
    assert check_packages(provider, installed=installed) is None
    with pytest.raises(DependencyMissing):
        check_packages(provider, installed=set())


@pytest.mark.parametrize("provider", ["cuda", "onnxruntime-tensorrt", "onnxruntime-tensorrt-rtx"])
def test_both_wheels_are_refused_for_what_runs_on_onnxruntime(provider):
    with pytest.raises(EnvironmentMissing, match=r"both installed .* pip uninstall"):
        check_packages(provider, installed={"onnxruntime", *INSTALLED})


@STRICT
def test_what_was_asked_for_runs_and_the_cpu_may_count_sizes(path, opens, provider):
    ort = runtime(provider, CPU, places={"Shape": CPU})
    with opens(ort, path) as session:
        assert session.providers == (provider, CPU)
        outputs = session.run(IMAGE)
    np.testing.assert_array_equal(outputs["scores"], [[9, 12], [9, 12]])
    np.testing.assert_array_equal(outputs["sizes"], [2, 3])
    assert [one.enable_fallback for one in ort.asked] == [0]


@STRICT
def test_bound_arrays_are_the_hosts(path, opens, provider):
    outputs = {"scores": np.zeros((2, 2), np.float32), "sizes": np.zeros(2, np.int64)}
    with opens(runtime(provider, CPU), path) as session:
        session.bind(IMAGE, outputs)()
    np.testing.assert_array_equal(outputs["scores"], [[9, 12], [9, 12]])


def images(rows, seed=0):
    return {"image": np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)}


def scores(given):
    return given["image"] @ np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def test_runs_of_one_shape_are_a_cuda_graph_with_addresses_of_its_own(path):
    ort = runtime(CUDA, CPU)
    with cuda(ort, path, enable_cuda_graph="1") as session:
        for seed, rows in enumerate((2, 2, 3, 2, 3, 3)):
            given = images(rows, seed)
            made = session.run(given)
            np.testing.assert_allclose(made["scores"], scores(given), rtol=1e-6)
            assert made["sizes"].tolist() == [rows, 3]
    assert ort.sessions[0].graphs == ["-1", "0", "-1", "0", "1", "1"]


def test_more_shapes_than_graphs_run_without_one(path):
    ort = runtime(CUDA, CPU)
    with cuda(ort, path, enable_cuda_graph=True) as session:
        for rows in (*range(1, MOST + 3), MOST + 2, 1):
            np.testing.assert_allclose(session.run(images(rows))["scores"], scores(images(rows)), rtol=1e-6)
    assert ort.sessions[0].graphs == ["-1"] * (MOST + 3) + ["0"]


def test_outputs_of_a_graph_belong_to_the_caller(path):
    with cuda(runtime(CUDA, CPU), path, enable_cuda_graph="1") as session:
        session.run(images(2))
        kept = session.run(images(2, 1))["scores"]
        session.run(images(2, 2))
        np.testing.assert_allclose(kept, scores(images(2, 1)), rtol=1e-6)


def test_arrays_of_the_host_are_bound_beside_a_graph_not_into_it(path):
    ort, outputs = runtime(CUDA, CPU), {"scores": np.zeros((2, 2), np.float32), "sizes": np.zeros(2, np.int64)}
    with cuda(ort, path, enable_cuda_graph="1") as session:
        given = images(2)
        run = session.bind(given, outputs)
        for step in range(3):
            given["image"] += step
            run()
            np.testing.assert_allclose(outputs["scores"], scores(given), rtol=1e-6)
        kept = session.run_keeping(given, ["scores"])["scores"]
        np.testing.assert_allclose(kept.numpy(), scores(given), rtol=1e-6)
    assert ort.sessions[0].graphs == ["-1", "0", "0", "-1"]


def test_a_closed_session_lets_its_graphs_go(path):
    ort = runtime(CUDA, CPU)
    session = cuda(ort, path, enable_cuda_graph="1")
    session.run(IMAGE)
    alive = weakref.ref(ort.sessions.pop())
    session.close()
    gc.collect()
    assert alive() is None
    with pytest.raises(UsageError, match="is closed"):
        session.run(IMAGE)


@pytest.mark.parametrize(("opens", "provider"), [(cuda, CUDA), (tensorrt, TRT)])
def test_a_cache_in_bfloat16_stays_on_the_gpu(tmp_path, opens, provider):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(GROWING), path)
    with opens(runtime(provider, CPU), path) as session:
        cache = session.placed({"cache": np.zeros((2, 0), np.uint16)})["cache"]
        for step in range(1, 5):
            fresh = np.full((2, 1), step, np.float32)
            outputs = session.run_keeping({"fresh": fresh, "cache": cache}, ["present"])
            cache = outputs["present"]
            np.testing.assert_array_equal(outputs["seen"], [range(1, step + 1)] * 2)
        array = cache.numpy()
        assert (array.dtype, array.shape) == (np.uint16, (2, 4))
        again = session.run({"fresh": np.zeros((2, 0), np.float32), "cache": array})
        np.testing.assert_array_equal(again["seen"], [[1, 2, 3, 4]] * 2)


@STRICT
def test_what_cannot_run_is_explained_where_outputs_are_kept_too(path, opens, provider):
    with opens(runtime(provider, CPU), path) as session, pytest.raises(UsageError, match="cannot work on these inputs"):
        session.run_keeping({"image": np.ones((2, 4), np.float32)}, ["scores"])


@STRICT
@pytest.mark.parametrize("others", [(CPU,), (CPU, "asked"), ("FooExecutionProvider", "asked", CPU)])
def test_a_session_that_opened_elsewhere_is_refused(path, opens, provider, others):
    opened = tuple(provider if one == "asked" else one for one in others)
    with pytest.raises(EnvironmentMissing, match=f"asked for {provider}, ONNX Runtime opened {opened[0]}"):
        opens(runtime(*opened), path)


@STRICT
@pytest.mark.parametrize("place", [CPU, "FooExecutionProvider"])
def test_computation_elsewhere_is_refused_by_name(path, opens, provider, place):
    with pytest.raises(EnvironmentMissing, match=rf"cannot run MatMul 'project' \(would be on {place}\), and nothing"):
        opens(runtime(provider, CPU, places={"MatMul": place}), path)


@STRICT
def test_a_provider_that_runs_nothing_is_refused(path, opens, provider):
    places = dict.fromkeys(("MatMul", "Shape"), CPU)
    with pytest.raises(EnvironmentMissing, match=f"no node of it runs on {provider} .{CPU} took them"):
        opens(runtime(provider, CPU, places=places), path)


def test_many_nodes_elsewhere_are_counted(tmp_path):
    chain = "".join(f"[n{step}] x{step + 1} = Relu(x{step})\n" for step in range(9))
    graph = f'<ir_version: 10, opset_import: ["" : 20]> g (float[n] x0) => (float[n] y) {{ {chain} y = Neg(x9) }}'
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(graph), path)
    with pytest.raises(EnvironmentMissing, match=r"Relu 'n0' .*, Relu 'n1' .*, Relu 'n2' [^,]*, 6 more, and"):
        cuda(runtime(CUDA, CPU, places={"Relu": CPU}), path)


def test_shape_arithmetic_is_no_computation():
    shapes = "Shape Gather Range Cast Concat Slice Unsqueeze Squeeze Reshape Add Sub Mul Div Where Equal Expand Max"
    assert not COMPUTING & set(shapes.split())
    named = "MatMul Gemm Conv ConvTranspose Attention Softmax LayerNormalization RMSNormalization Gelu Erf"
    assert set(named.split()) <= COMPUTING


@pytest.mark.parametrize(("opens", "provider"), [(cuda, CUDA), (tensorrt, TRT)])
def test_exactly_the_provider_is_asked_for_with_its_options_as_texts(path, opens, provider):
    ort = runtime(provider, CPU)
    opens(ort, path, device_id=0, enable_cuda_graph=True, arena="kSame").close()
    options = {"device_id": "0", "enable_cuda_graph": "1", "arena": "kSame"}
    assert ort.asked[0].providers == [(provider, options)]
    assert ort.asked[0].options.devices == []


@pytest.mark.parametrize(("opens", "provider"), [(cuda, CUDA), (tensorrt, TRT)])
def test_a_wheel_without_the_provider_is_a_missing_dependency(path, opens, provider):
    with pytest.raises(DependencyMissing, match=rf"without {provider} .*pip install 'vitrify\[gpu\]'"):
        opens(runtime(provider, CPU, built=()), path)


@pytest.mark.parametrize(
    ("opens", "words"), [(cuda, r"cuDNN 9: pip install"), (tensorrt, r"libnvinfer\.so\.10.*tensorrt-cu13==10\.16")]
)
def test_libraries_that_do_not_load_are_named_and_nothing_is_printed(path, opens, words, capfd):
    with pytest.raises(EnvironmentMissing, match=rf"{words}.* Failed to load libcudnn\.so\.9"):
        opens(runtime(CPU, printed="Failed to load libcudnn.so.9"), path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("Please install TensorRT libraries as mentioned", EnvironmentMissing, r"tensorrt-cu13==10\.16"),
        ('Unknown provider option: "fast".', UsageError, "an option that it does not know"),
        ("TensorRT EP failed to create engine from network", UnsupportedError, "cannot build an engine"),
        ("CUDA failure 2: out of memory ; GPU=0", EnvironmentMissing, "too little memory"),
        ("CUDA failure 999: unknown error ; GPU=0", EnvironmentMissing, "the GPU or its driver failed"),
    ],
)
def test_what_onnxruntime_says_is_no_broken_file(path, said, error, words):
    with pytest.raises(error, match=words):
        tensorrt(runtime(TRT, CPU, fails=RuntimeError(said)), path)


def test_a_plugin_is_given_its_device_and_options_and_registered_once(path):
    ort = runtime(RTX, CPU)
    for _ in range(2):
        tensorrt_rtx(ort, path, nv_cuda_graph_enable=True).close()
    assert ort.registered == [(RTX, "plugin.so")]
    for asked in ort.asked:
        (devices, options) = asked.options.devices[0]
        assert [device.ep_name for device in devices] == [RTX]
        assert options == {"nv_cuda_graph_enable": "1"}
        assert asked.providers is None


@pytest.mark.parametrize("capability", ["86", "89", "120", "121"])
def test_the_plugin_takes_these_gpus(path, capability):
    gpu = FakeGpu(capability=capability)
    tensorrt_rtx(runtime(RTX, CPU), path, gpu=gpu).close()
    assert gpu.closed


@pytest.mark.parametrize(("capability", "said"), [("75", "7.5"), ("80", "8.0"), ("90", "9.0"), ("103", "10.3")])
def test_the_plugin_refuses_other_gpus_before_it_is_loaded(path, capability, said):
    gpu, ort = FakeGpu(capability=capability), runtime(RTX, CPU)
    with pytest.raises(EnvironmentMissing, match=rf"8\.6, 8\.9 and 12\.0 or newer; a GPU has {said}\. Use a profile"):
        tensorrt_rtx(ort, path, gpu=gpu)
    assert gpu.closed
    assert not ort.registered


def missing(_):
    raise ImportError("No module")


@pytest.mark.parametrize(
    ("changes", "given", "error", "words"),
    [
        ({}, {"load_plugin": missing}, DependencyMissing, "pip install onnxruntime-ep-nv-tensorrt-rtx-cu13"),
        ({"fails": OSError("libnvidia-ml.so.1: no")}, {}, EnvironmentMissing, r"does not load \(libnvidia-ml"),
        ({"offers": ()}, {}, EnvironmentMissing, "offers no GPU"),
        ({"offers": ("FooExecutionProvider",)}, {}, EnvironmentMissing, "offers no GPU"),
    ],
)
def test_a_plugin_that_does_not_come_up_says_why(path, changes, given, error, words):
    with pytest.raises(error, match=words):
        tensorrt_rtx(runtime(RTX, CPU, **changes), path, **given)
