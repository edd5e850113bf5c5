import json
from dataclasses import replace

import pytest

from benchmarks.agreement import same_tokens, same_words, word_errors
from benchmarks.beside import Work, measure_works, ratios_of
from benchmarks.peers.environments import Peer
from benchmarks.rows import work_tables
from vitrify.bench.interleaved import Runner
from vitrify.bench.process import BackendError, Child

FAKE = "tests.benchmarks.fake_peer"
OURS, OTHER = Peer("vitrify", FAKE, shown=["numpy"]), Peer("fake", FAKE)


def way(variant, peer=OTHER, **more):
    return Runner(variant, peer, variant, lambda: "somewhere", **more)


def work(*names, **more):
    return Work("writing", "write", {"ids": [[1, 2]], "new": 3}, names, tokens=3, judged=same_tokens(1, 3), **more)


def measured(*ways, rounds=3, **more):
    return measure_works([work(*(each.name for each in ways), **more)], ways, rounds=rounds, pause=0)


def test_every_way_is_measured_in_every_round_and_compared():
    result = measured(
        way("cpu-fp32", OURS), way("answers"), Runner("bare", OURS, "cpu-fp32", lambda: "x", kind="steps")
    )
    found = result["work"]["writing"]
    assert {name: spread["count"] for name, spread in found["seconds"].items()} == dict.fromkeys(
        ["cpu-fp32", "answers", "bare"], 3
    )
    assert set(found["ratios"]) == {"answers / cpu-fp32", "bare / cpu-fp32"}
    assert found["made"] == {"cpu-fp32": {"tokens": 3}, "answers": {"tokens": 3}}
    assert found["failed"] == {}
    assert set(result["versions"]) == {"numpy"}
    assert "interrupted" not in result
    assert json.loads(json.dumps(result)) == result


def test_every_run_of_a_turn_is_a_sample():
    found = measured(way("cpu-fp32", OURS), way("answers"), rounds=2, calls=3)["work"]["writing"]
    assert {name: spread["count"] for name, spread in found["seconds"].items()} == {"cpu-fp32": 6, "answers": 6}


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("crashes", "crashed with exit status 139: Segmentation fault"),
        ("crashes-later", "crashed with SIGILL: libraries print where they like"),
        ("raises", "RuntimeError: out of memory"),
        ("does-not-load", "ValueError: no such model"),
        ("writes-less", "wrote [2] tokens where [3] were asked for"),
        ("sleeps", "no answer within 5 seconds"),
    ],
)
def test_a_way_that_fails_has_a_reason_and_no_figure_and_the_others_go_on(variant, reason):
    result = measured(way("cpu-fp32", OURS), way(variant), limit=5.0)
    found = result["work"]["writing"]
    assert found["failed"] == {variant: reason}
    assert list(found["seconds"]) == ["cpu-fp32"]
    assert found["seconds"]["cpu-fp32"]["count"] == 3
    (table,) = work_tables({"what": "a model", **result})
    assert [row[:2] for row in table.rows] == [("writing", "`cpu-fp32`")]
    assert table.notes == (f"No figure of {variant} for writing: {reason}.",)


def test_a_peer_that_is_not_installed_is_a_row_that_says_so():
    absent = Peer("absent", FAKE, packages=["absent==1.0"])
    found = measured(way("answers"), Runner("absent", absent, "fp32", lambda: "x"))["work"]["writing"]
    assert found["failed"] == {"absent": "not installed: run ./dev peer absent"}
    assert list(found["seconds"]) == ["answers"]


def test_a_model_that_is_not_there_is_a_row_that_says_so():
    def missing():
        raise BackendError("does not export: unsupported")

    found = measured(Runner("cpu-w8", OURS, "cpu-w8", missing))["work"]["writing"]
    assert found["failed"] == {"cpu-w8": "does not export: unsupported"}
    assert found["seconds"] == {}
    (table,) = work_tables({"what": "a model", "work": {"writing": found}})
    assert table.notes == ("No figure of cpu-w8 for writing: does not export: unsupported.",)


def test_an_interruption_keeps_what_was_measured():
    def interrupted():
        raise KeyboardInterrupt

    ways = [way("cpu-fp32", OURS), replace(way("answers"), model=interrupted)]
    first, second = work("cpu-fp32"), Work("waiting", "write", {"ids": [[1]], "new": 3}, ["cpu-fp32", "answers"])
    result = measure_works([first, second], ways, rounds=2, pause=0)
    assert result["interrupted"] == "waiting"
    assert result["work"]["writing"]["seconds"]["cpu-fp32"]["count"] == 2
    assert "waiting" not in result["work"]


def test_what_a_way_loads_and_with_how_many_threads():
    with Child(OTHER, model="a folder", variant="answers", threads=3) as child:
        assert child.ask("threads", {}, limit=5).made == ["a folder", 3]
        with pytest.raises(BackendError, match="no work of kind 'dance'"):
            child.ask("dance", {}, limit=5)
        assert child.is_alive
    assert not child.is_alive


def test_tokens_are_counted_and_compared_up_to_the_first_other_one():
    assert same_tokens(2, 3)([[1, 2, 3], [4, 5, 6]], [[1, 2, 9], [4, 5, 6]]) == {"tokens": 6, "as_reference": 5}


def test_words_are_compared_without_case_and_punctuation():
    assert same_words("The cat, sat.", "the cat sat")["word_errors"] == 0
    assert word_errors(["a", "b", "c", "d"], ["a", "x", "c"]) == pytest.approx(2 / 3)
    with pytest.raises(BackendError, match="heard no words"):
        same_words(" ...", "a")


def test_auto_is_compared_with_our_other_ways_too():
    samples = {"cpu-fp32": [4.0], "auto": [2.0], "cpu-int8": [2.0], "PyTorch fp32": [8.0]}
    found = ratios_of(samples, {"cpu-fp32", "auto", "cpu-int8"})
    assert {name: each["median"] for name, each in found.items()} == {
        "PyTorch fp32 / cpu-fp32": 2.0,
        "cpu-fp32 / auto": 2.0,
        "cpu-int8 / auto": 1.0,
        "PyTorch fp32 / auto": 4.0,
        "PyTorch fp32 / cpu-int8": 4.0,
    }
