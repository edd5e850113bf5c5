"""Compile on first use: one export per content, task and profile, and the child's failure is the caller's."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import SECONDS
from vitrify.runtime.bundle.manifest import MANIFEST
from vitrify.runtime.errors import (
    EnvironmentMissing,
    ExportError,
    IntegrityError,
    ParityError,
    UnsupportedError,
    UsageError,
    VitrifyError,
)
from vitrify.runtime.sources.compile_once import compiled_bundle
from vitrify.runtime.sources.request import Source

DEPENDENCIES = ("torch", "transformers", "onnx", "onnxscript", "onnx_ir")
# Compiles argv[1] with a runner that notes each run in the file argv[2] and takes a moment.
PROGRAM = """
import sys, time
from pathlib import Path
from vitrify.runtime.sources.compile_once import compiled_bundle
from vitrify.runtime.sources.request import Source

def run(command):
    with open(sys.argv[2], "a") as notes:
        notes.write("run\\n")
    folder = next(Path(word.removeprefix("--output=")) for word in command if word.startswith("--output="))
    time.sleep(float(sys.argv[3]))
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    return 0, ""

print(compiled_bundle(Source(Path(sys.argv[1]), "tiny"), task=None, profile="cpu-fp32", run=run))
"""


class Exporter:
    """Stands for the child process: makes what an export leaves, or fails as one."""

    def __init__(self, code=0, said="", seconds=0.0):
        self.code, self.said, self.seconds = code, said, seconds
        self.commands = []

    def __call__(self, command):
        self.commands.append(command)
        time.sleep(self.seconds)
        if self.code == 0:
            folder = next(Path(word.removeprefix("--output=")) for word in command if word.startswith("--output="))
            folder.mkdir()
            (folder / MANIFEST).write_text("{}")
        return self.code, self.said


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return Source(folder, "owner/tiny", "0" * 40)


def compile_once(source, **options):
    return compiled_bundle(source, **{"task": None, "profile": "cpu-fp32", "run": Exporter(), **options})


def test_the_second_call_runs_nothing(source):
    exporter = Exporter()
    first = compile_once(source, run=exporter)
    assert (first / MANIFEST).is_file()
    assert compile_once(source, run=exporter) == first
    assert len(exporter.commands) == 1


def test_the_command_says_everything(source):
    exporter = Exporter()
    folder = compile_once(
        source, task="fill-mask", profile="cpu-int8", trust_remote_code=True, allow_pickle=True, run=exporter
    )
    (command,) = exporter.commands
    assert command[0] == sys.executable
    words = command[command.index("export") :]
    assert words[:2] == ["export", str(source.folder)]
    assert set(words[2:]) == {
        f"--output={folder}",
        "--profile=cpu-int8",
        "--task=fill-mask",
        "--trust-remote-code",
        "--allow-pickle",
        "--source-id=owner/tiny",
        f"--source-revision={'0' * 40}",
    }


def test_every_difference_has_its_own_bundle(source):
    folders = [compile_once(source)]
    folders += [compile_once(source, task=task) for task in ("fill-mask", "feature-extraction")]
    folders += [compile_once(source, profile="cpu-int8"), compile_once(source, trust_remote_code=True)]
    folders += [compile_once(source, allow_pickle=True)]
    folders += [compile_once(Source(source.folder, "owner/tiny", "1" * 40))]
    (source.folder / "model.safetensors").write_bytes(b"weight5")
    folders += [compile_once(source)]
    (source.folder / "added.json").write_text("{}")
    folders += [compile_once(source)]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("name", ["README.md", "pytorch_model.bin", "optimizer.pt"])
def test_files_that_no_export_reads_make_no_difference(source, name):
    first = compile_once(source)
    (source.folder / name).write_text("more")
    assert compile_once(source) == first


def test_an_edited_profile_is_another_bundle(source, tmp_path):
    profile = tmp_path / "mine.toml"
    profile.write_text("opset = 18")
    first = compile_once(source, profile=str(profile))
    profile.write_text("opset = 20")
    assert compile_once(source, profile=str(profile)) != first


def test_an_orphaned_export_that_came_first_is_taken(source):
    def late(command):
        Exporter()(command)
        return 2, "vitrify: the folder exists\n"

    assert (compile_once(source, run=late) / MANIFEST).is_file()


def test_one_export_for_several_threads(source):
    exporter, found = Exporter(seconds=0.2), []
    threads = [threading.Thread(target=lambda: found.append(compile_once(source, run=exporter))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len(exporter.commands) == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def start(source, notes, seconds):
    words = [sys.executable, "-c", PROGRAM, str(source.folder), str(notes), str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def test_one_export_for_several_processes(source, tmp_path):
    notes = tmp_path / "notes"
    processes = [start(source, notes, 1.0) for _ in range(2)]
    folders = {process.communicate(timeout=SECONDS)[0] for process in processes}
    assert all(process.returncode == 0 for process in processes)
    assert len(folders) == 1
    assert notes.read_text() == "run\n"


def test_a_killed_compilation_leaves_nothing_in_the_way(source, tmp_path):
    notes = tmp_path / "notes"
    killed = start(source, notes, SECONDS)
    end = time.monotonic() + SECONDS
    while not notes.exists() and time.monotonic() < end:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    bundles = tmp_path / "cache" / "bundles"
    assert not [path for path in bundles.iterdir() if path.is_dir()]
    finished = start(source, notes, 0)
    folder = Path(finished.communicate(timeout=SECONDS)[0].strip())
    assert (folder / MANIFEST).is_file()
    assert notes.read_text() == "run\nrun\n"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (1, VitrifyError),
        (2, UsageError),
        (3, ExportError),
        (4, ParityError),
        (6, UnsupportedError),
        (7, IntegrityError),
        (8, EnvironmentMissing),
        (99, VitrifyError),
    ],
)
def test_the_childs_failure_is_ours(source, code, error):
    exporter = Exporter(code, "a warning of some library\nvitrify: what went wrong\n\n")
    with pytest.raises(error, match=r"^what went wrong$") as caught:
        compile_once(source, run=exporter)
    assert type(caught.value) is error
    assert (compile_once(source) / MANIFEST).is_file(), "a failure must not stand in the next call's way"


def test_a_child_that_says_nothing(source):
    with pytest.raises(VitrifyError, match="ended with 99"):
        compile_once(source, run=Exporter(99))


def test_a_killed_child(source):
    with pytest.raises(EnvironmentMissing, match="signal 9"):
        compile_once(source, run=Exporter(-9, "half a li"))
    assert (compile_once(source) / MANIFEST).is_file()


def test_a_cache_that_cannot_be_written(source, monkeypatch):
    monkeypatch.setenv("VITRIFY_CACHE", str(source.folder / "config.json"))
    with pytest.raises(EnvironmentMissing, match="VITRIFY_CACHE"):
        compile_once(source)


@pytest.mark.parametrize("missing", DEPENDENCIES)
def test_without_the_export_extra(source, missing):
    program = f"""
import json, sys
sys.modules[{missing!r}] = None
from pathlib import Path
from vitrify.runtime.sources.compile_once import compiled_bundle
from vitrify.runtime.errors import DependencyMissing
from vitrify.runtime.sources.request import Source
try:
    compiled_bundle(Source(Path({str(source.folder)!r}), "owner/tiny"), task=None, profile="cpu-fp32")
except DependencyMissing as error:
    print(json.dumps([error.exit_code, str(error)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    code, said = json.loads(done.stdout)
    assert code == 8
    assert missing in said
    assert "pip install 'vitrify[export]'" in said


def test_a_checkpoint_runs_and_the_second_time_without_torch(vitrify, exported, tmp_path):
    env = {**os.environ, "VITRIFY_CACHE": str(tmp_path / "cache")}
    words = ("run", "feature-extraction", "-m", exported.checkpoint, "a text")
    first = vitrify(*words, env=env)
    assert first.code == 0, first.err
    second = vitrify(*words, env=env, before="import sys; sys.modules['torch'] = None")
    assert (second.code, second.out, second.err) == (0, first.out, "")
    (bundle,) = tmp_path.glob("cache/bundles/*/bundle.json")
    assert json.loads(bundle.read_text())["source"]["id"] == exported.checkpoint.name
