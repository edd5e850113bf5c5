"""`vitrify bench`, `trace` and `tune` on a tiny bundle, for real: processes, profiler, files."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from vitrify.bench.result import Result

SMALL = ("--batch", "1", "--sequence", "8", "--rounds", "2")


@pytest.fixture(scope="module")
def measured(vitrify, exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "out"
    words = ["--against", "ort,torch", "--checkpoint", exported.checkpoint, "--rate", "20,auto", "--seconds", "0.2"]
    done = vitrify("bench", exported.bundle, *SMALL, "--sequence", "8,16", *words, "-o", folder, "--json")
    assert done.code == 0, done.err
    return folder, done.document


def test_every_contender_has_a_row_for_every_case(measured):
    folder, document = measured
    result = Result.read(folder / "result.json")
    assert [case.name for case in result.cases] == ["batch 1 x sequence 8", "batch 1 x sequence 16"]
    assert [backend.name for backend in result.backends] == ["cpu-fp32", "ort", "torch"]
    assert len(result.rows) == 6
    for row in result.rows:
        assert row.failed is None
        assert len(row.samples_ms) >= 2
        assert min(row.first_ms, row.peak_mb, row.throughput) > 0
        assert 0 < row.roofline < 2
    assert all(backend.load_ms > 0 for backend in result.backends)
    assert result.cases[1].flops > result.cases[0].flops > 0
    assert document["rows"] == json.loads((folder / "result.json").read_text())["rows"]
    assert document["model"]["architecture"] == "BertModel"
    assert {"onnxruntime", "torch"} <= set(result.versions)


def test_arrivals_at_random_were_served_at_each_rate(measured):
    result = Result.read(measured[0] / "result.json")
    assert {load.backend for load in result.loads} == {"cpu-fp32", "ort", "torch"}
    # The rate that was given, and four shares of what each serves, at two cases by three backends.
    assert sum(load.rate == 20.0 for load in result.loads) == 6
    assert len(result.loads) == 30
    assert all(load.samples_ms and load.failed is None for load in result.loads)


def test_files_are_written_and_the_page_carries_its_data(measured):
    folder, document = measured
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "result.csv", "result.json"]
    page = (folder / "report.html").read_text()
    assert "cpu-fp32" in page
    assert document["files"]["html"] == str(folder / "report.html")
    assert len((folder / "result.csv").read_text().splitlines()) == 7


def test_a_peer_that_cannot_run_is_a_row_that_says_so(vitrify, exported, tmp_path):
    done = vitrify("bench", exported.bundle, *SMALL, "--against", "torch", "--allow-missing", "-o", tmp_path)
    assert done.code == 0, done.err
    assert "needs the original checkpoint: pass --checkpoint FOLDER" in done.out
    result = Result.read(tmp_path / "result.json")
    assert result.row("batch 1 x sequence 8", "torch").failed
    assert result.row("batch 1 x sequence 8", "cpu-fp32").samples_ms


def test_the_gate_exits_5_and_keeps_the_result(vitrify, exported, measured, tmp_path):
    words = ["--baseline", measured[0] / "result.json", "--fail-if", "p50_ratio>0.0001", "-o", tmp_path]
    done = vitrify("bench", exported.bundle, *SMALL, *words, "--json")
    assert done.code == 5
    assert "cpu-fp32 at batch 1 x sequence 8: p50_ratio>0.0001" in done.document["error"]
    assert (tmp_path / "report.html").exists()


def test_a_baseline_from_another_machine_is_refused_before_anything_runs(vitrify, exported, measured, tmp_path):
    other = json.loads((measured[0] / "result.json").read_text())
    other["environment"]["cpu"] = "another"
    (tmp_path / "other.json").write_text(json.dumps(other))
    done = vitrify("bench", exported.bundle, *SMALL, "--baseline", tmp_path / "other.json", "-o", tmp_path / "out")
    assert done.code == 2
    assert "from another machine" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--against", "tensorflow"], 2, "expected one of torch, torch-bf16, torch-compile, ort"),
        (["--batch", "none"], 2, "expected whole numbers of at least 1"),
        (["--batch", "0"], 2, "expected whole numbers of at least 1"),
        (["--size", "height"], 2, "not a size"),
        (["--size", "height=3"], 2, "no axis 'height'"),
        (["--size", "batch=1", "--batch", "2"], 2, "given twice"),
        (["--rate", "fast"], 2, "expected requests per second"),
        (["--rounds", "0"], 2, "'--rounds'"),
        (["--against", "torch"], 2, "--against torch: needs the original checkpoint: pass --checkpoint FOLDER"),
        (["--against", "torch", "--checkpoint", "."], 2, "has no config.json of one"),
        (["--profile", "cpu-w4"], 2, "no profile 'cpu-w4'"),
        (["--fail-if", "p95"], 2, "--fail-if"),
        (["--baseline", "nothing.json"], 2, "no result in 'nothing.json'"),
        (["-o", "/dev/null/x"], 8, "cannot be written"),
    ],
)
def test_bad_words_are_told_in_one_line(vitrify, exported, tmp_path, words, code, said):
    done = vitrify("bench", exported.bundle, "-o", tmp_path, *words)
    assert done.code == code
    (line,) = done.err.splitlines()
    assert said in line


def test_a_model_that_is_not_there_leaves_no_folder(vitrify, tmp_path):
    done = vitrify("bench", "./nope", cwd=tmp_path)
    assert done.code != 0
    assert not list(tmp_path.iterdir())


def test_ctrl_c_keeps_what_was_measured(exported, tmp_path):
    reset = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{reset}\nimport sys; sys.argv[0] = 'vitrify'\nfrom vitrify.cli import main\nmain()"
    words = ["bench", exported.bundle, "--batch", "1", "--sequence", "8,16", "--rounds", "100000", "-o", tmp_path]
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            deadline = time.monotonic() + 90
            # The backend's process is there when rounds are under way.
            while time.monotonic() < deadline and not _measures(child.pid):
                time.sleep(0.2)
            time.sleep(6)
            os.kill(child.pid, signal.SIGINT)
            _, errors = child.communicate(timeout=60)
        finally:
            child.kill()  # or a failure would wait for it
    assert child.returncode == 130, errors
    result = Result.read(tmp_path / "result.json")
    assert result.interrupted == "batch 1 x sequence 8"
    assert len(result.rows[0].samples_ms) > 1


def _measures(pid):
    return any("vitrify.bench.backends.bundle" in _words(child) for child in psutil.Process(pid).children())


def _words(process):
    """Return a process's command line; one that has just ended has none."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_trace_says_where_the_time_goes_and_writes_what_perfetto_opens(vitrify, exported, tmp_path):
    words = ["--batch", "2", "--sequence", "8", "--runs", "3", "-o", tmp_path / "trace.json"]
    done = vitrify("trace", exported.bundle, *words)
    assert done.code == 0, done.err
    assert re.search(r"^MatMul +\d+\.0 +\d+\.\d+ +\d+\.\d% +\d+\.\d$", done.out, re.MULTILINE)
    events = json.loads((tmp_path / "trace.json").read_text())
    assert {event["ph"] for event in events} >= {"M", "X"}
    found = vitrify("trace", exported.bundle, *words, "--json").document
    assert found["sizes"] == {"batch": 2, "sequence": 8}
    assert found["calls"] == 3
    products = next(row for row in found["operators"] if row["name"] == "MatMul")
    assert products["calls"] % 3 == 0
    assert sum(row["share"] for row in found["operators"]) == pytest.approx(1)
    assert 0 < found["ms_between_nodes"] < found["ms_per_call"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--batch", "1,2"], 2, "a trace is of one size"),
        (["--runs", "0"], 2, "Invalid value for '--runs'"),
        (["-o", "/dev/null/x"], 8, "cannot be written"),
    ],
)
def test_a_trace_that_cannot_be_is_told_in_one_line(vitrify, exported, words, code, said):
    done = vitrify("trace", exported.bundle, *words)
    assert done.code == code
    assert said in done.err


def test_what_tune_measured_is_what_auto_runs(vitrify, exported, tmp_path):
    env = os.environ | {"VITRIFY_CACHE": str(tmp_path)}
    before = (exported.bundle / "bundle.json").read_bytes()
    done = vitrify("tune", exported.bundle, *SMALL, "--json", env=env)
    assert done.code == 0, done.err
    ways = done.document["ways"]
    assert {way["profile"] for way in ways} == {"cpu-fp32"}
    assert "cpu-fp32" in {way["name"] for way in ways}
    assert all(way["drift"] < 1e-3 and way["milliseconds"]["batch 1 x sequence 8"] > 0 for way in ways)
    assert (exported.bundle / "bundle.json").read_bytes() == before
    program = (
        "import sys, json; from vitrify import load_bundle; b = load_bundle(sys.argv[1], profile='auto'); "
        "print(json.dumps([b.profile.name, b.threads, b.choice.entries]))"
    )
    command = [sys.executable, "-c", program, exported.bundle]
    loaded = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert json.loads(loaded.stdout) == [ways[0]["profile"], ways[0]["threads"], ways[0]["entries"]]
    words = ["-p", "auto", "-p", "cpu-fp32", "-o", tmp_path / "out", "--json"]
    done = vitrify("bench", exported.bundle, *SMALL, *words, env=env)
    assert done.code == 0, done.err
    found = {each["name"]: each for each in done.document["contenders"]}
    assert list(found) == ["auto", "cpu-fp32"]
    assert (found["auto"]["precision"], found["auto"]["threads"]) == ("fp32", ways[0]["threads"])
    assert all(row["failed"] is None and row["roofline"] > 0 for row in done.document["rows"])


def test_tune_refuses_what_no_way_can_keep(vitrify, exported, tmp_path):
    env = os.environ | {"VITRIFY_CACHE": str(tmp_path)}
    done = vitrify("tune", exported.bundle, *SMALL, "--max-drift", "0", env=env)
    assert done.code == 8
    assert "raise --max-drift" in done.err
    assert not list(tmp_path.glob("tuned/*"))
