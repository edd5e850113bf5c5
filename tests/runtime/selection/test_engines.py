"""Which engine of a bundle a GPU gets; the driver and TensorRT are fakes, the bundle's files real."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.machines import machine
from tests.runtime.sessions.tiny import TINY, save
from vitrify.cli.describe.bundle import describe_bundle
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.engines import NOT_RUN, Engine, engines_of, graph_sources, write_sidecar
from vitrify.runtime.bundle.manifest import Build, Bundle, Provenance, write_manifest
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.graphs.signature import Graph, Tensor
from vitrify.runtime.selection import engines as gpu
from vitrify.runtime.selection.engines import capability, engine_path, installed_releases, record_verified
from vitrify.runtime.verification import verify

PROFILE, RELEASE = "trt-fp16-latency", "1.7.1.116"
WITH_GPU = machine(gpus=("NVIDIA L4",))


class Gpu:
    """A GPU of compute capability 8.9 that says when it is let go."""

    capability = "89"
    name = "NVIDIA L4"
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
    save(tmp_path / file, TINY)
    made = Bundle(
        head="base",
        tasks=("feature-extraction",),
        architecture="A",
        model_type="a",
        family="encoder",
        source=Provenance("here"),
        axes={},
        graphs={
            "model": Graph((Tensor("input_ids", "int64", ("batch",)),), (Tensor("logits", "float32", ("batch",)),))
        },
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


def run_on(folder):
    return {engine.sm: engine.run_on for engine in engines_of(Bundle.read(folder))}


def test_the_sidecar_of_the_engine_that_ran_says_which_gpu_has_verified_it(bundle):
    assert set(run_on(bundle.folder).values()) == {NOT_RUN}
    before = engines_of(bundle)
    record_verified(bundle, [PROFILE], driver=Gpu, load=only_rtx)
    assert run_on(bundle.folder) == {"89": "NVIDIA L4", "86": NOT_RUN, "portable": NOT_RUN}
    changed = Bundle.read(bundle.folder)
    assert [engine.key for engine in engines_of(changed)] == [engine.key for engine in before], "the same engines"
    found = engine_path(changed, profile=PROFILE, graph="model", machine=WITH_GPU, driver=Gpu, load=only_rtx)
    assert found.read_bytes() == b"89"
    document, lines = describe_bundle(bundle.folder)
    assert {one["sm"]: one["run_on"] for one in document["engines"]} == run_on(bundle.folder)
    assert sum("verified on NVIDIA L4" in line for line in lines) == 1


def recorded(monkeypatch, bundle, *, passed, record):
    """Let verify find that a profile passed, on a machine with a GPU."""
    monkeypatch.setattr(verify, "read_references", lambda bundle: None)
    monkeypatch.setattr(verify, "replay", lambda loaded, cases: {"passed": passed})
    monkeypatch.setattr(gpu, "record_verified", record)
    (bundle.folder / "parity").mkdir()
    (bundle.folder / "parity" / "cases.safetensors").write_bytes(b"")
    write_manifest(bundle, bundle.folder)
    return verify.verify_bundle(bundle.folder)


@pytest.mark.parametrize(("passed", "name"), [(True, "NVIDIA L4"), (False, NOT_RUN)])
def test_verify_records_what_passed(monkeypatch, bundle, passed, name):
    def record(bundle, profiles):
        record_verified(bundle, profiles, driver=Gpu, load=only_rtx)

    found = recorded(monkeypatch, bundle, passed=passed, record=record)
    assert found.passed == passed
    assert run_on(bundle.folder)["89"] == name


def test_a_bundle_that_cannot_be_written_is_verified_all_the_same(monkeypatch, bundle, caplog):
    def record(bundle, profiles):
        raise OSError(30, "Read-only file system")

    assert recorded(monkeypatch, bundle, passed=True, record=record).passed
    assert "sidecars do not record what passed" in caplog.text
