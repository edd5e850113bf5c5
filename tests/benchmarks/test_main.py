import json
import signal
import sys

import pytest

from benchmarks import __main__ as bench
from benchmarks import generation


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    monkeypatch.setattr(bench.signal, "signal", lambda *_: None)
    bench.main()


def test_a_whole_run_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(generation, "measure", lambda _scratch, *, rounds: {"work": {}, "rounds": rounds})
    run(monkeypatch, "generation", "--rounds", "2", "--into", str(tmp_path))
    found = json.loads((tmp_path / "generation.json").read_text())
    assert found["result"] == {"work": {}, "rounds": 2}
    assert found["environment"]["packages"]["vitrify"]
    assert capsys.readouterr().out.startswith("generation: ")


def test_an_interrupted_run_takes_no_whole_one_s_place(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(generation, "measure", lambda _scratch, *, rounds: {"interrupted": "decode", "rounds": rounds})
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "generation", "--into", str(tmp_path))
    assert ended.value.code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["generation.interrupted.json"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "interrupted at 'decode'; what was measured is in generation.interrupted.json"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["dance"], "no measurement 'dance' (there are: start"), (["start", "--rounds", "0"], "at least 1, got 0")],
)
def test_what_cannot_be_right_is_told(monkeypatch, capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_time_limit_ends_a_run_in_the_background_too(monkeypatch, tmp_path, capsys):
    def stopped(_scratch, *, rounds):
        signal.getsignal(signal.SIGTERM)(signal.SIGTERM, None)
        return {"rounds": rounds}

    monkeypatch.setattr(generation, "measure", stopped)
    monkeypatch.setattr(sys, "argv", ["bench", "generation", "--into", str(tmp_path)])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            bench.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 130
    assert not list(tmp_path.iterdir())
