"""Engines built for real by tensorrt-rtx, which needs no GPU: added to a bundle, judged, and refused when changed."""

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest

from tests.checkpoints import TYPES, make_checkpoint
from tests.machines import machine
from tests.refusals import without_steps
from vitrify import export_bundle
from vitrify.export.engine import build, build_request
from vitrify.export.engine.build import Order, build_engines, check_engines, plan_engines
from vitrify.export.engine.ep_context import write_ep_context
from vitrify.export.engine.lint import attention_layers, check_graph
from vitrify.export.engine.process import run_build
from vitrify.export.saving import save_graph
from vitrify.runtime.bundle.engines import (
    NOT_RUN,
    engines_of,
    find_engine,
    read_sidecar,
    shapes_fit,
    write_sidecar,
)
from vitrify.runtime.bundle.manifest import Bundle, add_files
from vitrify.runtime.child import Limits
from vitrify.runtime.errors import (
    DependencyMissing,
    EnvironmentMissing,
    ExportError,
    IntegrityError,
    UnsupportedError,
    UsageError,
)
from vitrify.runtime.machine import this_machine

LAYERS = TYPES["bert"].config["num_hidden_layers"]
PROFILE, BUILDER = "trt-fp16-latency", "tensorrt-rtx"


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Return a bundle with an engine for every GPU, one in float32 and one in int8; nobody may change it."""
    folder = tmp_path_factory.mktemp("engines")
    checkpoint = make_checkpoint("bert", "sequence-classification", folder / "checkpoint")
    export_bundle(checkpoint, folder / "bundle", profiles=[PROFILE, "cpu-fp32", "cpu-int8"])
    return folder / "bundle"


@pytest.fixture(scope="session")
def decoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    checkpoint = make_checkpoint("llama", "causal-lm", folder / "checkpoint")
    export_bundle(checkpoint, folder / "bundle", profiles=[PROFILE, "cpu-fp32"])
    return folder / "bundle"


@pytest.fixture
def copied(built, tmp_path):
    return shutil.copytree(built, tmp_path / "bundle")


@pytest.fixture(scope="session")
def installed(built):
    (engine,) = engines_of(Bundle.read(built))
    return {engine.builder: engine.version}


def found(folder, installed, *, sm="89"):
    return find_engine(Bundle.read(folder), profile=PROFILE, graph="model", sm=sm, installed=installed)


def test_an_export_with_engines_adds_one_for_every_gpu_and_says_that_none_has_run_it(built, installed):
    (engine,) = engines_of(Bundle.read(built))
    assert (engine.profile, engine.graph, engine.sm, engine.run_on) == (PROFILE, "model", "portable", NOT_RUN)
    assert engine.file == f"trt/model.{PROFILE}.portable.{BUILDER}-{engine.version}.engine"
    assert Bundle.read(built).files[engine.file] == engine.sha256
    assert {tensor.dtype for tensor in engine.inputs} == {"int64"}
    assert engine.shapes["read"]["input_ids"] == ((1, 1), (1, 128), (4, 128)), "the model takes 128 tokens at most"
    assert found(built, installed)[0] == engine
    assert found(built, installed, sm="120")[0] == engine


def test_an_engine_is_not_built_again_and_builds_give_the_same_bytes_again(copied, built):
    said = []
    digests = {Bundle.read(copied).digest}
    assert build_engines(copied, [PROFILE], Order(), progress=said.append) == []
    assert "is built already" in said[0]
    # About one build in thirty orders something otherwise, on a machine that is busy.
    for _ in range(2):
        assert len(build_engines(copied, [PROFILE], Order(), force=True)) == 1
        digests.add(Bundle.read(copied).digest)
    assert len(digests) < 3, "the same engine, so the same manifest"


def test_a_graph_around_an_engine_that_is_there_is_written_without_building_it(copied, vitrify):
    done = vitrify("build-engine", copied, "--profile", PROFILE, "--ep-context")
    assert done.code == 0, done.err
    bundle = Bundle.read(copied)
    (engine,) = engines_of(bundle)
    name = f"trt/{engine.name}.onnx"
    assert name in bundle.files
    (node,) = onnx.load(bundle.check(name)).graph.node
    assert node.op_type == "EPContext"
    assert engine == engines_of(Bundle.read(copied))[0]


@pytest.mark.skipif(bool(this_machine().gpus), reason="there is a GPU")
def test_weights_are_left_out_only_where_a_driver_is(copied, vitrify):
    done = vitrify("build-engine", copied, "--profile", PROFILE, "--stripped", "--force")
    assert done.code == 8
    assert "--stripped: TensorRT leaves weights out only where NVIDIA's driver is" in done.err


def test_an_engine_without_weights_has_another_key_and_no_graph_around_it(built, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "this_machine", lambda: machine(gpus=("NVIDIA L4",)))
    (whole,), (stripped,) = (plan_engines(built, [PROFILE], Order(stripped=one)) for one in (False, True))
    assert build_request(stripped) == {**build_request(whole), "stripped": True}
    assert whole.key != stripped.key
    assert "--stripped" in stripped.rebuild
    with pytest.raises(UsageError, match="--ep-context: the plugin finds no weights"):
        write_ep_context(stripped, tmp_path)


def test_an_engine_for_one_gpu_is_preferred_there(copied, installed):
    build_engines(copied, [PROFILE], Order(("89",)))
    assert {engine.sm for engine in engines_of(Bundle.read(copied))} == {"portable", "89"}
    assert found(copied, installed, sm="89")[0].sm == "89"
    assert found(copied, installed, sm="86")[0].sm == "portable"
    figures = json.loads((copied / "reports" / "engines.json").read_text())
    assert figures[found(copied, installed)[0].name]["build_seconds"] > 0


@pytest.mark.slow
def test_a_decoder_has_ranges_for_decoding_and_for_prefill_and_every_attention_fused(decoder):
    kept = np.ones(2**28, np.float32)  # a GB, which is this process's and not the builder's
    (report,) = check_engines(decoder, [PROFILE], Order(("89",)))
    assert (report.sets, report.reproducible) == (2, True)
    assert 10**8 < report.figures["peak_bytes"] < kept.nbytes
    assert report.figures["fused_attention"] == report.attention > 0
    (engine,) = engines_of(Bundle.read(decoder))
    assert {tensor.name: tensor.dtype for tensor in engine.inputs}["past_key_values.0.key"] == "float16"
    decode = engine.shapes["decode"]
    past = decode["past_key_values.0.key"]
    assert decode["attention_mask"] == tuple((low[0], low[2] + 1) for low in past)
    assert shapes_fit(decode, {"input_ids": (1, 1), "attention_mask": (1, 9)})
    assert not shapes_fit(decode, {"input_ids": (1, 2), "attention_mask": (1, 9)})


def test_the_check_reports_in_json_and_its_conditions_fail_it(built, vitrify):
    words = ("check-engine", built, "--sm", "86,120", "--once", "--json")
    done = vitrify(*words)
    assert done.code == 0, done.err
    rows = done.document["engines"]
    assert [(row["sm"], row["built"], row["reproducible"]) for row in rows] == [("86", True, None), ("120", True, None)]
    assert all(row["attention"] == LAYERS and row["half_share"] > 0.5 and row["kernels"] > LAYERS for row in rows)
    failed = vitrify(*words, "--fail-if", "half_share<0.5", "--fail-if", "engine_mb>0.001")
    assert failed.code == 3
    assert "engine_mb>0.001 (engine_mb is" in failed.document["error"]
    assert "half_share" not in failed.document["error"]
    assert len(failed.document["engines"]) == 2


@pytest.mark.parametrize(
    ("profile", "lacks", "has"), [pytest.param("trt-bf16", "75", "86", marks=pytest.mark.slow), ("trt-fp8", "86", "89")]
)
def test_a_type_that_a_gpu_lacks_is_refused_with_the_builders_reason(tmp_path, vitrify, profile, lacks, has):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    export_bundle(checkpoint, tmp_path / "bundle", profiles=[profile], sms=None)
    done = vitrify("check-engine", tmp_path / "bundle", "--sm", f"{lacks},{has}", "--once", "--json")
    assert done.code == 3
    refused, built = done.document["engines"]
    assert (refused["built"], refused["stage"], built["built"]) == (False, "build", True)
    assert "HW-specific datatypes" in refused["reasons"][0]["why"]


@pytest.mark.slow
def test_a_users_profile_in_float32_is_proven_and_built_from_the_graphs_that_run(tmp_path):
    (tmp_path / "trt-fp32.toml").write_text(
        'description = "mine"\nprovider = "tensorrt"\nprecision = "fp32"\nopset = 20\nir_version = 10\n'
        "tolerance = { absolute = 1e-4, relative = 1e-5 }\n"
        '[shape_ranges.read]\nbatch = "1:1:4"\nencoder_sequence = "1:8:32"\n'
        '[shape_ranges.decode]\nbatch = "1:1:4"\nencoder_sequence = "1:8:32"\nsequence = "1:1:1"\npast = "0:8:16"\n'
    )
    checkpoint = make_checkpoint("bart", "seq2seq-lm", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=[tmp_path / "trt-fp32.toml"], sms=("86",))
    assert report.profiles["trt-fp32"]["worst"]["difference"] < 1e-4
    built = engines_of(Bundle.read(tmp_path / "bundle"))
    assert {engine.graph for engine in built} == {"encoder_model", "cross_attention", "decoder_step"}
    assert {tensor.dtype for engine in built for tensor in engine.outputs} == {"float32"}


def test_int8_layers_are_built_from_their_pairs(tmp_path):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    export_bundle(checkpoint, tmp_path / "bundle", profiles=["trt-int8", PROFILE], sms=None)
    int8, half = check_engines(tmp_path / "bundle", None, Order(("89",)), twice=False)
    assert int8.built
    assert int8.figures["weight_bytes"] < half.figures["weight_bytes"]


def test_attention_as_one_operator_is_built_in_float32_too(tmp_path):
    names = ("q", "k", "v")
    given = ", ".join(f"float[b, 2, s, 8] {name}" for name in names)
    text = f"""<ir_version: 10, opset_import: ["" : 23]> g ({given}) => (float[b, 2, s, 8] y)
    {{ y = Attention (q, k, v) }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "g.onnx")
    request = {
        "module": "tensorrt_rtx",
        "target": "SM89",
        "stripped": False,
        "shapes": [dict.fromkeys(names, ((1, 2, 1, 8), (1, 2, 16, 8), (4, 2, 64, 8)))],
        "inputs": dict.fromkeys(names, "float32"),
        "outputs": {"y": "float32"},
    }
    assert attention_layers(check_graph(tmp_path / "g.onnx")) == 1
    report = run_build(tmp_path / "g.onnx", tmp_path / "engine", request, Limits(120))
    assert (report["stage"], report["reasons"]) == ("done", [])
    narrowed = {**request, "inputs": {**request["inputs"], "q": "float64"}}
    refused = run_build(tmp_path / "g.onnx", tmp_path / "engine", narrowed, Limits(120))
    assert "'q' is float64 in the graph and became float32 in the engine" in refused["reasons"][0]["why"]


@pytest.mark.slow
def test_weights_beyond_2_gb_are_built_from_their_own_file(tmp_path):
    shapes = [(12288, 32768), (32768, 12288), (12288, 32768)]  # 0.8 GB each
    products = " ".join(f"x{index + 1} = MatMul(x{index}, w{index})" for index in range(3))
    graph = f"g (float16[b, 12288] x0) => (float16[b, 32768] x3) {{ {products} }}"
    model = onnx_ir.from_proto(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> {graph}'))
    block = np.random.default_rng(0).normal(0, 0.01, 2**20).astype(np.float16)
    for index, shape in enumerate(shapes):
        tensor = onnx_ir.tensor(np.resize(np.roll(block, index), shape), name=f"w{index}")
        value = next(node for node in model.graph if node.inputs[1].name == tensor.name).inputs[1]
        value.const_value, value.type, value.shape = tensor, onnx_ir.TensorType(tensor.dtype), tensor.shape
        model.graph.register_initializer(value)
    save_graph(model, tmp_path / "g.onnx")
    assert (tmp_path / "g.onnx_data").stat().st_size > 2**31
    request = {
        "module": "tensorrt_rtx",
        "target": "SM89",
        "stripped": False,
        "shapes": [{"x0": ((1, 12288), (1, 12288), (4, 12288))}],
        "inputs": {"x0": "float16"},
        "outputs": {"x3": "float16"},
    }
    report = run_build(tmp_path / "g.onnx", tmp_path / "engine", request, Limits(600))
    assert (report["stage"], report["reasons"]) == ("done", [])
    assert (tmp_path / "engine").stat().st_size > 2**31


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--sm", "90"), 6, "tensorrt-rtx does not build for SM90 (Hopper: H100, H200)"),
        (("--sm", "90"), 6, "use --builder tensorrt"),
        (("--sm", "999"), 2, "sm: got '999', expected one of portable, 75"),
        (("--builder", "tensorflow"), 2, "builder: got 'tensorflow', expected one of tensorrt-rtx, tensorrt"),
        (
            ("--builder", "tensorrt"),
            8,
            "builder 'tensorrt' is not installed: pip install 'vitrify[tensorrt]'",
        ),
        (("--profile", "cpu-int8"), 2, "runs on 'cpu', which does not use engines"),
        (("--profile", "trt-int4"), 2, "no profile 'trt-int4' in bundle"),
        (("--shapes", "sequence=1:8:4096"), 2, "'sequence' is 1:8:4096, the graph accepts 1..128"),
        (("--shapes", "sequence=9:8:7"), 2, "expected 0 <= minimum <= optimum <= maximum"),
        (("--shapes", "sequence"), 2, "expected minimum:optimum:maximum"),
        (
            ("--shapes", "frames=1:2:3"),
            2,
            "no graph has the axis 'frames' (axes: batch, sequence)",
        ),
        (("--timeout", "0"), 2, "expected numbers above 0"),
        (("--timeout", "0.01"), 3, "(time): the build took more than 0.01 s"),
        (("--memory", "0.01"), 3, "(memory): the build took"),
    ],
)
def test_what_cannot_be_built_is_one_line_and_an_exit_code_and_the_bundle_stays(copied, vitrify, words, code, said):
    before = sorted((path, path.stat().st_size) for path in copied.rglob("*"))
    done = vitrify("build-engine", copied, "--force", *words)
    assert (done.code, without_steps(done.err).count("\n")) == (code, 1), done.err
    assert said in done.err
    assert sorted((path, path.stat().st_size) for path in copied.rglob("*")) == before


def test_the_check_refuses_a_condition_that_is_none(built, vitrify):
    for condition, said in (("fused", "expected a name, a comparison and a number"), ("speed<1", "is called 'speed'")):
        done = vitrify("check-engine", built, "--once", "--fail-if", condition)
        assert done.code == 2
        assert said in done.err


def test_a_builder_that_is_missing_is_told_before_the_checkpoint_is_read(tmp_path):
    with pytest.raises(DependencyMissing, match=r"vitrify\[tensorrt\]"):
        export_bundle(tmp_path / "nothing", tmp_path / "bundle", profiles=[PROFILE], builder="tensorrt")


def test_graphs_for_other_runtimes_are_refused_with_the_node(built, decoder):
    with pytest.raises(UnsupportedError, match=r"\(DynamicQuantizeLinear\) quantizes at run time"):
        check_graph(built / "onnx" / "model_int8.onnx")
    with pytest.raises(UnsupportedError, match=r"is of 'com.microsoft', ONNX Runtime's own"):
        check_graph(decoder / "onnx" / "model_in_place.onnx")
    assert attention_layers(check_graph(built / "onnx" / "model_trt_fp16.onnx")) == LAYERS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(double[2] x) => (double[2] y) { y = Neg(x) }", "'x' is float64"),
        (
            "(float[2] x) => (uint8[2] y) <float s = {1}, uint8 z = {7}> { y = QuantizeLinear(x, s, z) }",
            "has a zero point that is not 0",
        ),
    ],
)
def test_what_a_builder_would_change_without_a_word_is_refused(tmp_path, text, said):
    onnx.save(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]> g {text}'), tmp_path / "g.onnx")
    with pytest.raises(UnsupportedError, match=said):
        check_graph(tmp_path / "g.onnx")


def test_an_engine_of_another_version_or_gpu_is_refused_with_the_command_that_builds_it(built, installed):
    for sm, versions in (("75", installed), ("90", installed), ("89", {BUILDER: "9.9.9"}), ("89", {})):
        with pytest.raises(EnvironmentMissing, match=f"Build it: vitrify build-engine .* --sm {sm}"):
            found(built, versions, sm=sm)


def change(path, *, at=-1):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def test_an_engine_with_one_byte_changed_is_refused(copied, installed):
    change(copied / found(copied, installed)[0].file)
    with pytest.raises(IntegrityError, match="sha256 differs"):
        found(copied, installed)


def test_a_sidecar_that_was_changed_is_refused_even_where_the_manifest_agrees(copied, installed):
    engine, path = found(copied, installed)
    sidecar = path.with_suffix(".json")
    sidecar.write_text(sidecar.read_text().replace('"portable"', '"86"'))
    with pytest.raises(IntegrityError, match="its key differs"):
        read_sidecar(sidecar)
    sidecar.write_text("{}")
    with pytest.raises(IntegrityError, match=r"is broken|not JSON|not a JSON object|has schema"):
        read_sidecar(sidecar)
    assert engine.rebuild.endswith("--sm portable")


def test_an_engine_of_another_graph_is_refused(copied, installed):
    engine, _ = found(copied, installed)
    other = replace(engine, sources=dict.fromkeys(engine.sources, "0" * 64))
    bundle = Bundle.read(copied)
    write_sidecar(other, copied)
    add_files(bundle, [f"trt/{other.name}.json"])
    with pytest.raises(IntegrityError, match="was built from another graph"):
        found(copied, installed)


def test_equal_orders_have_equal_keys_and_whatever_decides_the_bytes_changes_them(built):
    (plain,) = plan_engines(built, [PROFILE], Order())
    assert plan_engines(built, [PROFILE], Order())[0].key == plain.key == engines_of(Bundle.read(built))[0].key
    changed = [plan_engines(built, [PROFILE], Order(("89",)))[0]]
    changed += [replace(plain, **{name: value}) for name, value in (("version", "1"), ("flags", {}), ("shapes", {}))]
    assert len({plain.key, *(engine.key for engine in changed)}) == len(changed) + 1


def test_a_graph_around_an_engine_is_one_that_onnxruntime_knows_for_its_plugin(copied):
    build_engines(copied, [PROFILE], Order(), force=True, ep_context=True)
    (name,) = [name for name in Bundle.read(copied).files if name.startswith("trt/") and name.endswith(".onnx")]
    onnx.checker.check_model(str(copied / name))
    with pytest.raises(Exception, match="EPContext node generated by 'NvTensorRTRTXExecutionProvider'"):
        onnxruntime.InferenceSession(str(copied / name), providers=["CPUExecutionProvider"])


def test_a_build_that_is_stopped_leaves_the_engines_that_were_there(copied, installed):
    with pytest.raises(ExportError, match="allow more with --timeout"):
        build_engines(copied, [PROFILE], Order(limits=Limits(0.01)), force=True)
    assert found(copied, installed)[0].sm == "portable"
