"""A build that hangs, grows, crashes or is killed: a report says so, and nothing of it is left."""

import re
import time
from pathlib import Path

import pytest

from vitrify.export.engine.process import run_build
from vitrify.runtime.child import Limits

FAKES = Path(__file__).parent


@pytest.mark.parametrize(
    ("behaviour", "stage", "words"),
    [
        ("hangs", "time", "more than 2 s: allow more with --timeout"),
        ("grows", "memory", "MB allowed: allow more with --memory"),
        ("killed", "killed", "was killed: is there enough memory?"),
        ("faults", "crash", r"crashed \(SIGSEGV\)"),
        ("crashes", "crash", r"ended with 134: free\(\): invalid pointer"),
    ],
)
def test_a_child_that_does_not_finish_is_reported_in_words(behaviour, stage, words, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_TENSORRT", behaviour)
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    limits = Limits(2.0 if behaviour == "hangs" else 55.0, 300 * 10**6)
    start = time.monotonic()
    report = run_build(tmp_path / "model.onnx", tmp_path / "engine", {"module": "fake_tensorrt"}, limits)
    assert report["stage"] == stage
    assert re.search(words, report["reasons"][0]["why"])
    assert time.monotonic() - start < (20 if behaviour == "hangs" else 60)


def test_a_module_that_is_missing_is_a_crash_with_its_name(tmp_path):
    report = run_build(tmp_path / "model.onnx", tmp_path / "engine", {"module": "no_such_tensorrt"}, Limits(30.0))
    assert report["stage"] == "crash"
    assert "no_such_tensorrt" in report["reasons"][0]["why"]
