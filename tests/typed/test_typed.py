"""Pipelines and their results have types: in pyright's eyes and in mypy's, and for every task of the table."""

import subprocess
import sys
from pathlib import Path
from typing import get_args, get_overloads

import pytest

import vitrify
from vitrify.runtime import factory
from vitrify.runtime.pipelines.classes import pipeline_class
from vitrify.runtime.tasks import TASKS

SAMPLE = Path(__file__).with_name("sample.py")
WRONG = 'from vitrify import pipeline\npipeline("fill-mask")("a")[0]["token_string"]\n'


def overloads() -> dict[str, str]:
    """Return the class that each task's overload names; the first of a task is for an argument that nests results."""
    found = {}
    for each in get_overloads(factory.pipeline):
        for name in get_args(each.__annotations__["task"]):
            if isinstance(name, str):
                found[name] = each.__annotations__["return"]
    return found


def test_every_task_and_alias_has_its_class():
    names = {name: task for task in TASKS for name in (task.name, *task.aliases)}
    assert overloads() == {name: pipeline_class(task).__name__ for name, task in names.items()}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_class_says_what_it_returns(task):
    bases = next(cls.__orig_bases__ for cls in pipeline_class(task).__mro__ if "__orig_bases__" in vars(cls))
    assert all(len(get_args(base)) == 2 for base in bases)


@pytest.fixture
def beside(tmp_path):
    """A folder with the package, as a type checker finds an installed one."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "vitrify").symlink_to(Path(vitrify.__file__).resolve().parent)
    return tmp_path


def run(*words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
def test_pyright_agrees(beside):
    (beside / "pyrightconfig.json").write_text('{"extraPaths": ["lib"], "include": ["*.py"], "pythonVersion": "3.11"}')
    (beside / "sample.py").write_text(SAMPLE.read_text())
    assert "0 errors" in run("pyright", "--pythonpath", sys.executable, cwd=beside)
    (beside / "sample.py").write_text(WRONG)
    assert "token_string" in run("pyright", "--pythonpath", sys.executable, cwd=beside)


@pytest.mark.slow
def test_mypy_agrees(beside):
    words = ("mypy", "--follow-imports=silent", "--ignore-missing-imports", "--python-version=3.11", "sample.py")
    env = {"MYPYPATH": "lib", "PATH": "", "MYPY_CACHE_DIR": str(beside / "cache")}
    (beside / "sample.py").write_text(SAMPLE.read_text())
    assert "Success" in run(*words, cwd=beside, env=env)
    (beside / "sample.py").write_text(WRONG)
    assert "token_string" in run(*words, cwd=beside, env=env)
