"""Which engine of a bundle a GPU gets; the driver and TensorRT are fakes, the bundle's files real."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.runtime.test_choice import machine
from vitrify.profiles import load_profile
from vitrify.runtime.bundle import Build, Bundle, Provenance, write_manifest
from vitrify.runtime.engines import Engine, graph_sources, write_sidecar
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.gpu import capability, engine_path, installed_releases

PROFILE, RELEASE = "trt-fp16-latency", "1.7.1.116"
WITH_GPU = machine(gpus=("NVIDIA L4",))


class Gpu:
    """A GPU of compute capability 8.9 that says when it is let go."""

    capability = "89"
    closed = 0

    def close(self):
        type(self).closed += 1


def only_rtx(module):
    if module != "tensorrt_rtx":
        raise ImportError(module)
    return SimpleNamespace(__version__=RELEASE)


def without(module):
    raise ImportError(module)


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "onnx").mkdir()
    (tmp_path / "trt").mkdir()
    file = "onnx/model_trt_fp16.onnx"
    (tmp_path / file).write_bytes(b"a graph")
    made = Bundle(
        head="base",
        tasks=("feature-extraction",),
        architecture="A",
        model_type="a",
        family="encoder",
        source=Provenance("here"),
        axes={},
        graphs={},
        builds={PROFILE: Build(load_profile(PROFILE), {"model": file})},
        tools={},
    )
    made = write_manifest(made, tmp_path)
    plain = Engine(
        profile=PROFILE,
        graph="model",
        builder="tensorrt-rtx",
        version=RELEASE,
        sm="portable",
        sources=graph_sources(made, PROFILE, "model"),
        shapes={},
        inputs=(),
        outputs=(),
    )
    for sm in ("portable", "89", "86"):
        engine = replace(plain, sm=sm)
        (tmp_path / engine.file).write_bytes(sm.encode())
        digest = hashlib.sha256(sm.encode()).hexdigest()
        write_sidecar(replace(engine, sha256=digest), tmp_path)
    return write_manifest(made, tmp_path)


def test_the_gpu_gets_the_engine_that_was_built_for_it(bundle):
    before = Gpu.closed
    found = engine_path(bundle, profile=PROFILE, graph="model", machine=WITH_GPU, driver=Gpu, load=only_rtx)
    assert found.read_bytes() == b"89"
    assert Gpu.closed == before + 1, "the GPU was not let go"


def test_without_a_gpu_or_without_tensorrt_it_says_what_is_missing(bundle):
    named = {"profile": PROFILE, "graph": "model"}
    with pytest.raises(EnvironmentMissing, match="needs an NVIDIA GPU"):
        engine_path(bundle, **named, machine=machine(), driver=Gpu, load=only_rtx)
    with pytest.raises(EnvironmentMissing, match=r"with what is installed \(none\); built: portable by tensorrt-rtx"):
        engine_path(bundle, **named, machine=WITH_GPU, driver=Gpu, load=without)


def test_what_is_installed_is_asked_of_the_modules():
    assert installed_releases(only_rtx) == {"tensorrt-rtx": RELEASE}
    assert installed_releases(without) == {}
    assert capability(Gpu) == "89"
