"""Options that do nothing or contradict each other, and values out of range: rejected before anything is read."""

import sys

import pytest

from tests.conftest import Finished
from tests.refusals import assert_refused
from vitrify import cli

RUN = ("run", "text-classification", "a text", "-m", "nowhere")


@pytest.fixture
def command(capsys, monkeypatch):
    """Run `vitrify words` in this process; a model or bundle `nowhere` is never looked for."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["vitrify", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        out, err = capsys.readouterr()
        return Finished(int(left.value.code or 0), out, err)

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*RUN, "--max-drift", "0.1"), "--max-drift has no effect without --profile auto"),
        ((*RUN, "--max-drift", "0.1", "-p", "cpu-int8"), "--max-drift has no effect"),
        (("verify", "nowhere", "--revision", "main"), "--revision has no effect without --against"),
        (("verify", "nowhere", "--trust-remote-code"), "--trust-remote-code has no effect without --against"),
        (("verify", "nowhere", "--allow-pickle"), "--allow-pickle has no effect without --against"),
        (("export", "nowhere", "--no-engines", "--sm", "89"), "--sm has no effect with --no-engines"),
        (("export", "nowhere", "--no-engines", "--builder", "tensorrt"), "--builder has no effect with --no-engines"),
        (("bench", "nowhere", "--max-drift", "0.1"), "--max-drift has no effect"),
        (("bench", "nowhere", "--seconds", "3"), "--seconds has no effect without --rate"),
        (("bench", "nowhere", "--force"), "--force has no effect without --baseline"),
        (("bench", "nowhere", "--checkpoint", "x", "--against", "ort"), "--checkpoint has no effect without"),
        (("bench", "nowhere", "--allow-missing"), "--allow-missing has no effect without --against"),
        (("bench", "nowhere", "--against", "torch,"), "--against: got 'torch,'"),
    ],
)
def test_an_option_that_would_do_nothing(command, words, said):
    assert_refused(command(*words), 2, said)


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "-p", "auto", "--max-drift", "-1"),
        (*RUN, "-p", "auto", "--max-drift", "nan"),
        (*RUN, "--threads", "0"),
        (*RUN, "--batch-size", "0"),
        ("trace", "nowhere", "--top", "-1"),
        ("trace", "nowhere", "--runs", "0"),
        ("tune", "nowhere", "--rounds", "0"),
        ("tune", "nowhere", "--max-drift", "nan"),
        ("bench", "nowhere", "--rounds", "0"),
        ("bench", "nowhere", "--rate", "5", "--seconds", "-1"),
    ],
)
def test_a_number_out_of_range(command, words):
    assert_refused(command(*words), 2, f"'{words[-2]}'", f"Try: vitrify {words[0]} --help")


@pytest.mark.parametrize("builder", ["build-engine", "check-engine", "export"])
def test_a_builder_that_is_unknown(command, builder):
    assert_refused(command(builder, "nowhere", "--builder", "foo"), 2, "got 'foo'", "tensorrt-rtx, tensorrt")


@pytest.mark.parametrize("words", [("--sm", "89"), ("--builder", "tensorrt-rtx")])
def test_engines_of_an_export_that_builds_none(command, words):
    assert_refused(command("export", "nowhere", *words), 2, f"{words[0]} has no effect without a profile of TensorRT")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check-engine", "nowhere", "--fail-if", "bogus<1"), "known: built, fused"),
        (("bench", "nowhere", "--fail-if", "x>1"), "known: p50, p90"),
        (("bench", "nowhere", "--fail-if", "torch_ratio<3", "--against", "ort"), "ort_ratio"),
        (("bench", "nowhere", "--fail-if", "p50_ratio>1"), "no metric is called 'p50_ratio'"),
    ],
)
def test_a_condition_on_a_figure_that_will_not_be_there(command, words, said):
    assert_refused(command(*words), 2, said)


@pytest.mark.parametrize("name", ["model", "profile", "batch_size", "threads", "revision", "max_drift"])
def test_a_parameter_that_is_an_option(command, name):
    assert_refused(command(*RUN, "--param", f"{name}=1"), 2, f"use --{name.replace('_', '-')}")


@pytest.mark.parametrize("words", [("info", ""), ("verify", ""), ("export", ""), ("run", "ner", "a", "-m", " ")])
def test_a_name_that_is_empty(command, words):
    assert_refused(command(*words), 2, "name is empty")


def test_a_file_is_not_told_to_be_exported_to(command):
    assert_refused(command("info", __file__), 2, "is a file, not a bundle's folder")


def test_a_name_that_no_file_system_knows(command):
    assert_refused(command("run", "ner", "a", "-m", "a" * 5000), 8, "name too long")
