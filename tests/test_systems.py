"""Other systems, as far as Linux can play them: what only POSIX has is missing, and what is said where it is needed.

docs/systems.md lists what was not tried; the versions on it are those of pyproject.toml.
"""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from tests.imports import ROOT, modules
from vitrify.bench.process import check_system
from vitrify.cli.describe.machine import describe_machine
from vitrify.export.checkpoint.pickled import give_up_network
from vitrify.export.engine.child import peak_bytes
from vitrify.runtime.bundle.files import real_path
from vitrify.runtime.errors import EnvironmentMissing, IntegrityError
from vitrify.runtime.machine import this_machine

PAGE = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What Windows' Python lacks. Modules of others read some of it; ours are imported after them.
WITHOUT_POSIX = """
import numpy, tokenizers, typer, rich, jinja2, filelock, huggingface_hub, safetensors.numpy, regex, importlib, pathlib
import asyncio, os, signal, subprocess, sys, tempfile
for name in ("resource", "fcntl", "termios", "tty", "pwd", "grp", "readline", "_posixsubprocess"):
    sys.modules[name] = None
for name in ("fork", "killpg", "geteuid", "getegid", "getuid", "sched_getaffinity", "sysconf", "getpgid", "uname"):
    delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGPIPE", "SIGALRM", "setitimer"):
    delattr(signal, name)
"""


def run_without_posix(code):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX + code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_module_of_the_runtime_and_the_commands_imports_without_posix():
    names = [name for name in modules() if name.split(".")[0] in {"profiles", "runtime", "cli", "bench"}]
    names += ["export.engine.child", "export.engine.process", "export.staging"]
    names.remove("cli.__main__")
    run_without_posix(f"for name in {sorted(names)!r}: importlib.import_module(f'vitrify.{{name}}')")


def test_what_a_system_does_not_say_is_unknown_or_a_sentence():
    said = run_without_posix("""
from vitrify.export.engine.child import peak_bytes
from vitrify.runtime.child import run_child
from vitrify.runtime.errors import EnvironmentMissing
from vitrify.runtime.machine import this_machine
nowhere = pathlib.Path("nowhere")
machine = this_machine(root=nowhere, ask=lambda command: "")
print(peak_bytes(nowhere), machine.cores >= 1, machine.memory_bytes, machine.model_name)
try:
    run_child([sys.executable, "-c", ""], files=[1])
except EnvironmentMissing as error:
    print(error)
""")
    assert said.splitlines() == [
        "0 True 0 unknown",
        "a child process inherits open files on Linux and macOS only: run this command there",
    ]


def test_the_most_memory_is_known_without_proc():
    assert peak_bytes(Path("nowhere")) == pytest.approx(peak_bytes(), rel=0.5)


def test_an_unknown_machine_has_no_claims_made_of_it(tmp_path):
    machine = this_machine(root=tmp_path, ask=lambda _: "")
    _, lines = describe_machine(machine=machine, installed={})
    assert "features unknown" in str(lines[1])
    assert str(lines[2]) == "  memory: unknown"


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_pickled_weights_need_linux(system):
    with pytest.raises(EnvironmentMissing, match="needs Linux"):
        give_up_network(system)


def test_benchmarks_need_posix():
    with pytest.raises(EnvironmentMissing, match="not supported on Windows"):
        check_system("nt")


@pytest.mark.parametrize(
    "name", ["C:\\model.onnx", "C:model.onnx", "\\model.onnx", "..\\model.onnx", "a\\..\\..\\b", "/a"]
)
def test_no_name_leaves_a_bundle_on_any_system(tmp_path, name):
    with pytest.raises(IntegrityError, match="leaves its folder"):
        real_path(tmp_path, name)


def test_the_page_has_the_versions_of_the_project():
    assert f"Python {PROJECT['requires-python']}" in PAGE
    wanted = dict(map(_split, chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())))
    rows = dict(re.findall(r"^\| `([\w-]+)` \| `([^`]*)` \|", PAGE, re.MULTILINE))
    assert {"onnxruntime", "openvino", "torch", "transformers", "numpy", "tokenizers"} <= set(rows)
    assert rows == {name: wanted[name] for name in rows}


def _split(requirement):
    name = re.split(r"[\[<>=~!]", requirement)[0]
    return name, requirement.removeprefix(name)
