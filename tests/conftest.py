"""What several test files share: the command line in a child process, and one tiny bundle that it exported."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.once import made_once

SECONDS = 120


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def pytest_addoption(parser):
    parser.addoption(
        "--sweep", action="store_true", help="all profiles of all types, resumed where the last one stopped"
    )


def pytest_configure(config):
    from vitrify.runtime.sessions.telemetry import without_telemetry

    os.environ.update(without_telemetry())
    if config.getoption("sweep"):
        from tests.sweep import Sweep

        config.pluginmanager.register(Sweep(config))


def run_vitrify(*words, stdin="", env=None, cwd=None, before=""):
    """Run `vitrify words` in a child process, after the Python statement `before`."""
    program = f"{before}\nimport sys; sys.argv[0] = 'vitrify'\nfrom vitrify.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        input=stdin,
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Exported:
    checkpoint: Path
    bundle: Path
    finished: Finished


@pytest.fixture(scope="session")
def vitrify():
    return run_vitrify


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Export a tiny BERT encoder once for all tests; nobody may change it."""
    from tests.checkpoints import make_checkpoint

    def fill(folder):
        finished = run_vitrify(
            "export", make_checkpoint("bert", "base", folder / "checkpoint"), "-o", folder / "bundle", "--json"
        )
        assert finished.code == 0, finished.err
        (folder / "finished.json").write_text(json.dumps(dataclasses.asdict(finished)))

    folder = made_once(tmp_path_factory, "exported", fill)
    finished = Finished(**json.loads((folder / "finished.json").read_text()))
    return Exported(folder / "checkpoint", folder / "bundle", finished)
