"""The wheel: small, with its profiles, and enough with `cpu` and `vision` alone to serve a bundle."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build it from a copy: a build leaves folders where it runs."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, folder / "source", ignore=ignored, symlinks=True)
    _pip("wheel", "--no-deps", "--wheel-dir", folder, folder / "source")
    (made,) = folder.glob("vitrify-*.whl")
    return made


def _pip(*words, python=sys.executable):
    subprocess.run([python, "-m", "pip", "--quiet", *map(str, words)], check=True, timeout=300)


def test_it_is_small_and_whole(wheel):
    assert wheel.stat().st_size < MEGABYTE
    names = zipfile.ZipFile(wheel).namelist()
    on_disk = {path.relative_to(ROOT).as_posix() for path in (ROOT / "profiles").glob("*.toml")}
    on_disk |= {
        path.relative_to(ROOT).as_posix()
        for part in ("runtime", "export", "profiles")
        for path in (*(ROOT / part).rglob("*.py"), *(ROOT / part).rglob("*.json"))
    }
    assert "vitrify/py.typed" in names
    assert on_disk <= {name.removeprefix("vitrify/") for name in names}
    assert not [name for name in names if "tests/" in name or "benchmarks/" in name]


@pytest.mark.slow
def test_a_fresh_environment_with_cpu_and_vision_serves_a_bundle(wheel, exported, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    _pip("install", "--constraint", ROOT / "constraints.txt", f"{wheel}[cpu,vision]", python=str(python))
    bundle = shutil.copytree(exported.bundle, tmp_path / "bundle")
    words = ["run", "feature-extraction", "--model", bundle, "--json", "My name is Sarah"]
    done = subprocess.run(
        [python.with_name("vitrify"), *words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    (states,) = json.loads(done.stdout)["results"][0]
    assert len(states) > 2
    for module in ("torch", "transformers", "onnx"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is not None)"
        assert subprocess.run([python, "-c", code], check=False).returncode == 0, module
    export = subprocess.run(
        [python.with_name("vitrify"), "export", exported.checkpoint, "-o", tmp_path / "again"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert export.returncode == 8
    assert "vitrify[export]" in export.stderr
