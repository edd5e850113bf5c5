"""`./dev check --all` goes on where it stopped on the same sources, starts over on others, and keeps the rows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.types_table import PAGE, RESULTS, page
from tests.sweep import digest_of

ROOT = Path(__file__).parent.parent
# A project that is swept in place of this one: its tests say what they did, and one fails until a file is there.
CONFTEST = """
import tests.sweep

def pytest_addoption(parser):
    parser.addoption("--sweep", action="store_true")

def pytest_configure(config):
    config.pluginmanager.register(tests.sweep.Sweep(config))
"""
TESTS = """
from pathlib import Path
import pytest

ROW = {"type": "bert", "head": "base", "profile": "cpu-fp32", "family": "encoder", "cache": "none", "seconds": 2.0,
       "passed": True, "difference": 1e-6, "limit": 1e-4, "agreement": 1.0, "drift": 1e-7, "quality": None,
       "reason": None}

@pytest.mark.parametrize("name", ["good", "bad"])
def test_one(name, record_property):
    with Path("ran.log").open("a") as stream:
        stream.write(name + " ")
    record_property("row", {**ROW, "type": name})
    assert name == "good" or Path("mended").exists()
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "README.md").write_text("what is swept")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_one.py").write_text(TESTS)
    return tmp_path


def sweep(project, *options):
    """Return the exit code and the names of the tests that ran."""
    (project / "ran.log").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--sweep", "-q", *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    ran = (project / "ran.log").read_text().split() if (project / "ran.log").exists() else []
    return done.returncode, sorted(ran), done.stdout + done.stderr


@pytest.mark.parametrize("processes", [(), ("--numprocesses", "2", "--dist", "worksteal")], ids=["one", "two"])
def test_a_sweep_goes_on_with_what_has_not_passed(project, processes):
    code, ran, said = sweep(project, *processes)
    assert (code, ran) == (1, ["bad", "good"]), said
    (project / "mended").touch()  # no source: the digest stays
    assert sweep(project, *processes)[:2] == (0, ["bad"])
    assert sweep(project, *processes)[:2] == (0, [])
    (project / "test_one.py").write_text(f"{TESTS}\n")
    assert sweep(project, *processes)[:2] == (0, ["bad", "good"])


def test_rows_of_every_run_are_kept_and_shown(project):
    sweep(project, "-k", "good")
    sweep(project, "-k", "bad")  # fails, and its row is kept all the same
    content = json.loads((project / RESULTS).read_text())
    assert [(row["type"], row["environment"]) for row in content["rows"]] == [("bad", 0), ("good", 0)]
    assert (project / PAGE).read_text() == page(project)


COVERED = ("__init__.py", "tests/generators.toml", "constraints.txt", "README.md", "docs/cli.md")


@pytest.mark.parametrize("name", COVERED)
def test_the_digest_covers_sources_tests_constraints_and_pages(name, tmp_path):
    for each in COVERED:
        (tmp_path / each).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / each, tmp_path / each)
    before = digest_of(tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "other.py").touch()
    assert digest_of(tmp_path) == before
    with (tmp_path / name).open("a") as stream:
        stream.write("#")
    assert digest_of(tmp_path) != before
