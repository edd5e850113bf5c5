"""The command line: every command with and without --json, its exit codes, its help."""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vitrify.cli.describe.machine import describe_machine, require_working
from vitrify.cli.describe.profiles import describe_profiles
from vitrify.cli.output import text_lines
from vitrify.runtime.bundle.digests import file_digest
from vitrify.runtime.errors import EnvironmentMissing, install_hint
from vitrify.runtime.machine import Machine
from vitrify.version import __version__

COMMANDS = {
    "export": ("MODEL", "--profile", "--force", "--allow-mismatch"),
    "run": ("TASK", "--model", "--param", "--batch-size"),
    "verify": ("BUNDLE", "--against"),
    "info": ("BUNDLE",),
    "tasks": ("default checkpoints",),
    "profiles": ("machine",),
    "doctor": ("missing",),
    "cache": ("ACTION", "--days"),
}
ORDER = [
    *("export", "run", "chat", "serve", "verify", "info", "push"),
    *("bench", "trace", "tune", "build-engine", "check-engine"),
    *("tasks", "profiles", "doctor", "cache"),
]
PLAIN_CPU = Machine(cpu_features=frozenset({"avx2"}), cores=4, memory_bytes=8 * 10**9, model_name="a plain CPU")


def assert_one_line(text):
    assert text.startswith("vitrify: ")
    assert text.count("\n") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_a_command_takes(vitrify, command):
    done = vitrify(command, "--help", env={**os.environ, "COLUMNS": "200"})
    assert (done.code, done.err) == (0, "")
    for word in (*COMMANDS[command], "--json"):
        assert word.lower() in done.out.lower()


def test_the_help_lists_every_command_and_no_command_gives_the_help(vitrify):
    shown = vitrify("-h")
    assert (shown.code, shown.err) == (0, "")
    listed = re.findall(r"^│ ([a-z][a-z-]*) ", shown.out, re.MULTILINE)
    assert listed == ORDER
    nothing = vitrify()
    assert nothing.code == 2
    assert "export" in nothing.out + nothing.err
    assert "bug" not in nothing.err


@pytest.mark.parametrize("command", ORDER)
def test_the_help_reads_as_a_manual_page(vitrify, command):
    said = vitrify(command, "--help", env={**os.environ, "COLUMNS": "80"}).out
    assert f"Example: vitrify {command}" in said
    assert "<bool>" not in said
    assert "--no-force" not in said
    assert "…" not in said
    usage = next(line for line in said.splitlines() if "Usage:" in line)
    assert not {"{", "}"} & set(usage)


def test_the_usage_of_run_names_its_arguments(vitrify):
    assert "Usage: vitrify run [OPTIONS] TASK [INPUTS]..." in vitrify("run", "--help").out


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(vitrify, word):
    assert vitrify(word).out == f"{__version__}\n"


def test_the_package_is_a_program():
    words = [sys.executable, "-m", "vitrify", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (("run",), "Missing argument 'TASK'. Try: vitrify run --help\n"),
        (("export", "--xyz"), "No such option: --xyz. Try: vitrify export --help\n"),
        (("rnu",), "Try: vitrify --help\n"),
    ],
)
def test_a_usage_error_names_the_help_of_its_command(vitrify, words, end):
    done = vitrify(*words)
    assert done.code == 2
    assert done.err.endswith(end)
    assert "?." not in done.err


def test_the_help_s_reader_may_go_away():
    words = [sys.executable, "-m", "vitrify", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.close()
        _, errors = child.communicate(timeout=60)
    assert (child.returncode, errors) == (0, "")


@pytest.mark.parametrize("as_json", [False, True])
def test_tasks(vitrify, as_json):
    done = vitrify("tasks", *["--json"] * as_json)
    assert (done.code, done.err) == (0, "")
    assert "zero-shot-classification" in done.out
    if as_json:
        rows = {row["task"]: row for row in done.document["tasks"]}
        assert rows["token-classification"]["aliases"] == ["ner"]
        assert all(row["summary"] and row["default"] for row in rows.values())


@pytest.mark.parametrize("as_json", [False, True])
def test_profiles(vitrify, as_json):
    done = vitrify("profiles", *["--json"] * as_json)
    assert (done.code, done.err) == (0, "")
    assert "cpu-fp32" in done.out
    if as_json:
        rows = {row["profile"]: row for row in done.document["profiles"]}
        assert rows["cpu-fp32"]["runs_here"] is True
        assert all(row["runs_here"] == (row["obstacle"] is None) for row in rows.values())


def test_info_says_which_provider_runs_which_operators(vitrify, exported):
    done = vitrify("info", exported.bundle, "--assignments", "--json")
    assert (done.code, done.err) == (0, "")
    (providers,) = done.document["profiles"]["cpu-fp32"].values()
    assert set(providers) == {"CPUExecutionProvider"}
    assert providers["CPUExecutionProvider"]["LayerNormalization"] == 5  # one after the embeddings, two in each layer
    said = vitrify("info", exported.bundle, "--assignments").out
    assert "5 LayerNormalization" in said


@pytest.mark.parametrize("gpus", [(), ("NVIDIA H200",)])
def test_profiles_of_another_machine_say_what_it_lacks(gpus):
    machine = Machine(**{**vars(PLAIN_CPU), "gpus": gpus})
    document, parts = describe_profiles(machine=machine)
    lines = list(text_lines(parts))
    rows = {row["profile"]: row for row in document["profiles"]}
    assert rows["cpu-fp32"]["runs_here"] is True
    assert "amx_bf16" in rows["cpu-bf16"]["obstacle"]
    assert rows["cuda-fp16"]["runs_here"] is False
    assert len(lines) == 2 * len(rows)


@pytest.mark.parametrize("as_json", [False, True])
def test_doctor(vitrify, as_json, tmp_path):
    done = vitrify("doctor", *["--json"] * as_json, env={**os.environ, "VITRIFY_CACHE": str(tmp_path)})
    assert (done.code, done.err) == (0, "")
    assert str(tmp_path) in done.out
    assert "CPUExecutionProvider" in done.out
    if as_json:
        assert done.document["problems"] == []
        assert done.document["cache"] == {"folder": str(tmp_path), "bytes": 0, "writable": True}
        assert done.document["extras"]["export"]["packages"]["torch"]


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({}, r"vitrify\[cpu\]"),
        ({"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.32.0"}, "both installed"),
    ],
)
def test_the_doctor_finds_what_keeps_everything_from_running(installed, words):
    document, lines = describe_machine(machine=PLAIN_CPU, installed=installed)
    assert any("PROBLEM" in line for line in lines)
    assert document["providers"] == []
    with pytest.raises(EnvironmentMissing, match=words):
        require_working(document)


def test_the_doctor_says_how_to_install_what_is_missing():
    document, lines = describe_machine(machine=PLAIN_CPU, installed={"onnxruntime": "1.32.0"})
    require_working(document)
    extras = document["extras"]
    assert extras["cpu"] == {"packages": {"onnxruntime": "1.32.0"}, "install": None}
    assert extras["vision"] == {"packages": {"pillow": None}, "install": install_hint("vision")}
    assert extras["gpu"]["install"].startswith("pip uninstall -y onnxruntime && ")
    assert "test" not in extras
    assert any("pillow not installed; install: pip install 'vitrify[vision]'" in line for line in lines)
    assert "  extra gpu: not needed here (no NVIDIA GPU)" in lines


@pytest.mark.parametrize("as_json", [False, True])
def test_info(vitrify, exported, as_json):
    done = vitrify("info", exported.bundle, *["--json"] * as_json)
    assert (done.code, done.err) == (0, "")
    for word in ("BertModel", "feature-extraction", "cpu-fp32", "input_ids", "last_hidden_state", "onnx/model.onnx"):
        assert word in done.out
    if as_json:
        document = done.document
        assert document["axes"]["sequence"] == {"minimum": 1, "maximum": 128}
        assert document["graphs"]["model"]["inputs"][0]["axes"] == ["batch", "sequence"]
        build = document["profiles"]["cpu-fp32"]
        assert build["verified"] is True
        assert set(build["files"]) == {"onnx/model.onnx", "onnx/model.onnx_data"}
        assert all(size > 0 for size in build["files"].values())
        assert "config.json" in document["source"]["files"]


def test_export_in_json(exported):
    document = exported.finished.document
    assert document["bundle"] == str(exported.bundle)
    assert document["tasks"] == ["feature-extraction"]
    assert document["passed"] is True
    assert set(document["profiles"]) == {"cpu-fp32"}
    assert exported.finished.err == ""


@pytest.fixture(scope="module")
def again(vitrify, exported, tmp_path_factory):
    """Export the same checkpoint once more, with nothing but its folder given."""
    folder = tmp_path_factory.mktemp("again")
    done = vitrify("export", exported.checkpoint, "--task", "feature-extraction", cwd=folder)
    return folder, done


def test_export_in_words(again):
    folder, done = again
    assert done.code == 0
    steps = done.err.splitlines()
    assert steps[0] == "step 1 of 5: reading the checkpoint"
    assert re.fullmatch(r"step 3 of 5: tracing the graph, about \d+ s left", steps[2])
    assert len(steps) == 5
    assert "  cpu-fp32: PASS, max abs error " in done.out
    assert "feature-extraction" in done.out
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]  # the checkpoint's own name


def test_the_same_checkpoint_gives_the_same_bytes(again, exported):
    folder, _ = again
    first, second = (
        json.loads((path / "bundle.json").read_text()) for path in (exported.bundle, folder / "checkpoint")
    )
    assert first == second


@pytest.mark.parametrize("as_json", [False, True])
def test_verify(vitrify, exported, as_json):
    done = vitrify("verify", exported.bundle, *["--json"] * as_json)
    assert (done.code, done.err) == (0, "")
    if as_json:
        assert done.document["passed"] is True
        assert done.document["profiles"]["cpu-fp32"]["compared"] > 5
    else:
        assert "  cpu-fp32: PASS, max abs error " in done.out


@pytest.mark.parametrize("as_json", [False, True])
def test_verify_of_another_model_exits_4(vitrify, exported, as_json, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(exported.bundle, bundle)
    move_expected_outputs(bundle, by=0.01)
    done = vitrify("verify", bundle, *["--json"] * as_json)
    assert done.code == 4
    assert_one_line(done.err)
    if as_json:
        assert done.document["passed"] is False
        assert done.document["exit_code"] == 4
    else:
        assert "  cpu-fp32: FAIL, max abs error " in done.out
        assert " differs by " in done.out


def move_expected_outputs(bundle, *, by):
    from safetensors import safe_open

    path = bundle / "parity" / "cases.safetensors"
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    moved = {name: value + np.float32(by) if "|expected|" in name else value for name, value in tensors.items()}
    save_file(moved, path, metadata=metadata)
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["files"]["parity/cases.safetensors"] = file_digest(path)
    (bundle / "bundle.json").write_text(json.dumps(manifest))


def test_run_prints_one_line_for_each_input(vitrify, exported):
    done = vitrify("run", "feature-extraction", "-m", exported.bundle, "one text", "another, longer text")
    assert (done.code, done.err) == (0, "")
    first, second = (json.loads(line) for line in done.out.splitlines())
    assert np.shape(first)[0] == np.shape(second)[0] == 1
    assert np.shape(first)[1] < np.shape(second)[1]


def test_run_reads_lines_of_stdin_and_gives_one_document(vitrify, exported):
    words = ("run", "feature-extraction", "-m", exported.bundle, "--json", "--batch-size", "2", "--threads", "1")
    done = vitrify(*words, stdin="one text\nanother, longer text\n")
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert {key: document[key] for key in ("task", "model", "profile")} == {
        "task": "feature-extraction",
        "model": "bundle",
        "profile": "cpu-fp32",
    }
    assert len(document["results"]) == 2


def test_run_takes_files_and_parameters(vitrify, exported, tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one text " * 200)
    words = ("run", "feature-extraction", path, "-m", exported.bundle, "--param")
    done = vitrify(*words, "truncation=true")
    assert done.code == 0
    assert np.shape(json.loads(done.out))[1] == 128


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "nosuch"),
        (("run",), "TASK"),
        (("tasks", "--colour"), "--colour"),
        (("run", "feature-extraction", "text", "-m", "BUNDLE", "--param", "top_k"), "name=JSON"),
        (("run", "feature-extraction", "text", "-m", "BUNDLE", "--param", "colour=1"), "colour"),
        (("run", "feature-extraction", "text", "-m", "BUNDLE", "--profile", "cpu-int8"), "cpu-fp32"),
        (("run", "feature-extraction", "text", "-m", "BUNDLE", "--batch-size", "0"), "--batch-size"),
        (("run", "feature-extraction", "text", "-m", "BUNDLE", "--threads", "0"), "--threads"),
        (("info", "nowhere"), "nowhere"),
        (("verify", "nowhere"), "nowhere"),
        (("export", "CHECKPOINT", "--profile", "cpu-fp33", "-o", "new"), "cpu-fp33"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_usage_errors_exit_2_in_one_line(vitrify, exported, tmp_path, words, said, as_json):
    folders = {"BUNDLE": exported.bundle, "CHECKPOINT": exported.checkpoint}
    done = vitrify(*(folders.get(word, word) for word in words), *["--json"] * as_json, cwd=tmp_path)
    assert done.code == 2
    assert said in done.err
    assert_one_line(done.err)
    if as_json:
        assert done.document == {"error": done.err.removeprefix("vitrify: ").strip(), "exit_code": 2}
    else:
        assert done.out == ""
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_is_no_error(exported, tmp_path):
    (tmp_path / "texts").write_text("a text\n" * 200)
    words = [sys.executable, "-m", "vitrify.cli", "run", "feature-extraction", "-m", str(exported.bundle)]
    with (tmp_path / "texts").open() as texts, (tmp_path / "errors").open("w+") as errors:
        child = subprocess.Popen(words, stdin=texts, stdout=subprocess.PIPE, stderr=errors)
        assert child.stdout is not None
        child.stdout.readline()
        child.stdout.close()
        assert child.wait(60) == 0
    assert (tmp_path / "errors").read_text() == ""


def test_a_bug_is_called_a_bug_and_exits_1(vitrify):
    broken = "import vitrify.runtime.tasks as tasks; tasks.TASKS = 3"
    done = vitrify("tasks", before=broken)
    assert done.code == 1
    assert "bug in vitrify" in done.err
    assert_one_line(done.err)


@pytest.mark.parametrize("raised", ["ImportError('initialization failed')", "UsageError('a graph that cannot load')"])
def test_an_error_that_ctrl_c_caused_is_an_interruption(raised, vitrify):
    """Compiled modules that are stopped while they load turn the interrupt into an error of their own."""
    before = f"""
import vitrify.cli
from vitrify.runtime.errors import UsageError
def stopped(**options):
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as interrupt:
        raise {raised} from interrupt
vitrify.cli.app = stopped
"""
    done = vitrify("tasks", before=before)
    assert (done.code, done.out, done.err) == (130, "", "vitrify: interrupted\n")
