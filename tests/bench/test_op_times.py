import json
from dataclasses import replace

import pytest

from tests.checkpoints import make_checkpoint
from vitrify import export_bundle
from vitrify.bench.backends import flops, own_backend
from vitrify.bench.op_times import by_node, by_operator, perfetto, read_traces, runs_of, traced_bundle
from vitrify.bench.roofline import least_milliseconds, measured_peaks
from vitrify.bench.trace import describe_trace, trace_bundle
from vitrify.bench.workload import workload
from vitrify.profiles import load_profile
from vitrify.runtime.bundle.reading import read_bundle
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.machine import this_machine
from vitrify.runtime.sessions import installed_packages


def kernel(name, operator, at, took, inputs, outputs):
    told = {"op_name": operator, "provider": "CPUExecutionProvider"}
    shapes = [[{"float": shape} for shape in shapes] for shapes in (inputs, outputs)]
    args = {**told, "input_type_shape": shapes[0], "output_type_shape": shapes[1]}
    return {"name": f"{name}_kernel_time", "ts": at, "dur": took, "ph": "X", "pid": 9, "args": args}


def run(at, took):
    return {"name": "model_run", "ts": at, "dur": took, "ph": "X", "pid": 9, "args": {}}


EVENTS = [
    {"name": "session_initialization", "ts": 0, "dur": 5, "ph": "X", "pid": 9, "args": {}},
    kernel("linear", "MatMul", 110, 40, [[2, 8, 4], [4, 6]], [[2, 8, 6]]),
    kernel("scores", "MatMul", 150, 10, [[2, 3, 8, 4], [2, 3, 4, 8]], [[2, 3, 8, 8]]),
    kernel("packed", "MatMul", 160, 10, [[2, 8, 4]], [[2, 8, 6]]),
    kernel("low_bit", "MatMulNBits", 170, 5, [[2, 4], [6, 1, 2]], [[2, 6]]),
    kernel("patches", "Conv", 175, 5, [[1, 3, 8, 8], [16, 3, 2, 2]], [[1, 16, 4, 4]]),
    kernel("norm", "LayerNormalization", 180, 5, [[2, 8, 4]], [[2, 8, 4]]),
    run(100, 100),
    kernel("linear", "MatMul", 310, 60, [[2, 8, 4], [4, 6]], [[2, 8, 6]]),
    run(300, 90),
]


def test_nodes_belong_to_the_run_that_they_were_in():
    first, second = runs_of({"model": EVENTS})
    assert [node.name for node in first.nodes] == ["linear", "scores", "packed", "low_bit", "patches", "norm"]
    assert [node.name for node in second.nodes] == ["linear"]
    assert second.microseconds == 90


def test_work_is_told_from_shapes_and_weights_are_read_once():
    (first, _) = runs_of({"model": EVENTS})
    work = {node.name: (node.flops, node.bytes) for node in first.nodes}
    assert work == {
        "linear": (2 * 2 * 8 * 6 * 4, 4 * 4 * 6),
        "scores": (2 * 2 * 3 * 8 * 8 * 4, 0),
        "packed": (2 * 2 * 8 * 6 * 4, 4 * 4 * 6),
        "low_bit": (2 * 2 * 6 * 4, 4 * 4 * 6),
        "patches": (2 * 16 * 4 * 4 * 3 * 2 * 2, 4 * 16 * 3 * 2 * 2),
        "norm": (0, 0),
    }
    assert first.flops == sum(flops for flops, _ in work.values())


def test_tables_are_the_longest_first_and_shares_come_to_one():
    runs = runs_of({"model": EVENTS})
    operators = by_operator(runs)
    assert [row["name"] for row in operators][:2] == ["MatMul", "MatMulNBits"]
    assert operators[0]["calls"] == 4
    assert operators[0]["ms"] == pytest.approx(0.12)
    assert sum(row["share"] for row in operators) == pytest.approx(1)
    assert by_node(runs)[0]["name"] == "model: linear (MatMul)"


def test_graphs_are_processes_of_their_own_for_perfetto(tmp_path):
    for graph in ("decoder_step", "encoder_model"):
        (tmp_path / f"{graph}_2026-01-01_10-00-00_7.json").write_text(json.dumps(EVENTS))
    traces = read_traces(tmp_path)
    assert list(traces) == ["decoder_step", "encoder_model"]
    merged = perfetto(traces)
    named = {event["pid"]: event["args"]["name"] for event in merged if event["ph"] == "M"}
    assert named == {1: "decoder_step", 2: "encoder_model"}
    assert {event["pid"] for event in merged} == {1, 2}


def test_the_least_time_is_bound_by_compute_or_by_memory_in_each_run():
    peaks = {"gflops": 100.0, "gigabytes_per_second": 10.0}
    assert least_milliseconds([(1e9, 1e6)], peaks) == pytest.approx(10.0)
    assert least_milliseconds([(1e9, 1e9), (0, 1e8)], peaks) == pytest.approx(110.0)


@pytest.mark.parametrize(
    ("precision", "computing", "reading"),
    [("fp32", 10.0, 100.0), ("bf16", 5.0, 50.0), ("int8", 2.5, 25.0), ("w8", 2.5, 25.0), ("w4", 2.5, 12.5)],
)
def test_each_precision_has_its_own_limit(precision, computing, reading):
    peaks = {"gflops": 100.0, "gflops_bf16": 200.0, "gflops_int8": 400.0, "gigabytes_per_second": 10.0}
    assert least_milliseconds([(1e9, 1e6)], peaks, precision) == pytest.approx(computing)
    assert least_milliseconds([(1e6, 1e9)], peaks, precision) == pytest.approx(reading)


def test_no_limit_is_invented_for_a_precision_whose_peak_was_not_measured():
    peaks = {"gflops": 100.0, "gigabytes_per_second": 10.0}
    assert least_milliseconds([(1e9, 1e6)], peaks, "int8") is None
    assert least_milliseconds([(1e9, 1e6)], peaks, "fp16") is None


@pytest.mark.skipif(not this_machine().has_any(load_profile("cpu-bf16").requires), reason="no bfloat16 in this CPU")
def test_what_runs_on_openvino_is_counted_by_onnxruntime(tmp_path):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    names = ["cpu-fp32", "cpu-bf16", "cpu-int8-static"]
    export_bundle(checkpoint, tmp_path / "bundle", profiles=names)
    given = workload(read_bundle(tmp_path / "bundle"), {"vocab_size": 99}, {"batch": (2,), "sequence": (9,)})
    (case,) = given.cases()
    arguments = given.arguments(case, tmp_path)
    counts = []
    for name in names:
        count = flops.load(str(tmp_path / "bundle"), own_backend(name).variant, 1)["count"]
        ((computed, read),) = count(**arguments)()
        counts.append(computed)
        assert read > 0
    assert counts == [counts[0]] * 3


@pytest.mark.skipif(
    not this_machine().has_any(load_profile("cpu-int8-static").requires), reason="no int8 products in this CPU"
)
def test_what_runs_on_openvino_is_traced_by_openvino(tmp_path):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    export_bundle(checkpoint, tmp_path / "bundle", profiles=["cpu-int8-static"])
    sizes = {"batch": (4,), "sequence": (64,)}
    file = tmp_path / "trace.json"
    trace = trace_bundle(tmp_path / "bundle", profile=None, sizes=sizes, threads=1, runs=5, output=file)
    document, lines = describe_trace(trace, top=3)
    assert len(trace.runs) == 5
    assert any(
        row["name"].startswith("FullyConnected") and "i8" in row["name"].lower() for row in document["operators"]
    )
    assert sum(row["share"] for row in document["operators"]) == pytest.approx(1)
    assert 0 < document["ms_between_nodes"] < document["ms_per_call"]
    assert all(row["gflops"] == 0 for row in document["nodes"])
    assert lines[0].startswith("bundle, cpu-int8-static, batch 4 x sequence 64")
    events = json.loads(file.read_text())
    assert sum(event["name"] == "model_run" for event in events) == 7  # of which two warmed up


@pytest.mark.skipif("openvino" not in installed_packages(), reason="vitrify[openvino] is absent")
def test_a_trace_that_cannot_be_written_is_told_in_one_line(tmp_path):
    checkpoint = make_checkpoint("bert", "base", tmp_path / "checkpoint")
    report = export_bundle(checkpoint, tmp_path / "bundle", profiles=["cpu-fp32-openvino"])
    opened = traced_bundle(report.bundle, tmp_path / "absent", profile=None, threads=1)
    with (
        pytest.raises(EnvironmentMissing, match=r"cannot be written \(No such file .* free its disk"),
        opened as bundle,
    ):
        assert bundle.model.input_names  # which opens its session


def test_a_trace_that_is_cut_off_is_told_in_one_line(tmp_path):
    (tmp_path / "model_2026-11-29_10-00-00_1.json").write_text('[{"name": "model_run", "ts"')
    with pytest.raises(EnvironmentMissing, match=r"is cut off: free its disk"):
        read_traces(tmp_path)


@pytest.mark.skipif("openvino" not in installed_packages(), reason="vitrify[openvino] is absent")
def test_peaks_are_measured_of_the_precisions_that_the_cpu_has():
    machine = this_machine()
    plain = {"gflops", "gigabytes_per_second"}
    assert set(measured_peaks(replace(machine, cpu_features=frozenset()))) == plain
    found = measured_peaks(machine)
    assert set(found) == plain | {
        name
        for name, features in (
            ("gflops_bf16", {"amx_bf16", "avx512_bf16"}),
            ("gflops_int8", {"amx_int8", "avx512_vnni", "avx_vnni"}),
        )
        if features & machine.cpu_features
    }
    assert min(found.values()) > 0
