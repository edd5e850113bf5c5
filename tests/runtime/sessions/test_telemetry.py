"""ONNX Runtime leaves no trace of its telemetry in a user's home; OpenVINO's is in test_openvino.py."""

import os

import pytest

from tests.checkpoints import make_checkpoint

SETTINGS = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "VITRIFY_CACHE")
SAYS = "import atexit, os; atexit.register(lambda: print(os.environ['ORT_DISABLE_TELEMETRY']))"


def environment(home, **variables):
    return {name: value for name, value in os.environ.items() if name not in SETTINGS} | {"HOME": str(home)} | variables


def traces(home):
    return [path for path in home.rglob("*") if {"Microsoft", ".onnxruntime"} & set(path.parts)]


@pytest.mark.parametrize(
    "words", [("run", "feature-extraction", "a text", "-m"), ("info", "--assignments"), ("verify",)]
)
def test_a_command_leaves_nothing_in_a_home(vitrify, exported, tmp_path, words):
    done = vitrify(*words, exported.bundle, env=environment(tmp_path))
    assert (done.code, done.err) == (0, "")
    assert not traces(tmp_path)


def test_an_export_leaves_nothing_in_a_home(vitrify, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    checkpoint = make_checkpoint("gpt2", "causal-lm", tmp_path / "checkpoint")
    done = vitrify("export", checkpoint, "-o", tmp_path / "bundle", "--json", env=environment(home))
    assert done.code == 0, done.err
    assert not traces(home)


@pytest.mark.parametrize("words", [("run", "feature-extraction", "a text", "-m"), ("verify",)])
def test_a_home_that_cannot_be_written_is_no_matter(vitrify, exported, words):
    done = vitrify(*words, exported.bundle, env=environment("/proc"))
    assert (done.code, done.err) == (0, "")


def test_doctor_leaves_nothing_in_a_home(vitrify, tmp_path):
    assert vitrify("doctor", "--json", env=environment(tmp_path)).document
    assert not traces(tmp_path)


@pytest.mark.parametrize(("given", "used"), [({}, "1"), ({"ORT_DISABLE_TELEMETRY": "0"}, "0")])
def test_what_the_user_set_stays(vitrify, exported, tmp_path, given, used):
    done = vitrify("verify", exported.bundle, env=environment(tmp_path, **given), before=SAYS)
    assert done.out.splitlines()[-1] == used
