from pathlib import Path

import numpy as np
import pytest

from benchmarks import latency, questions
from benchmarks.artifacts import Bundles
from benchmarks.peers.feeds import feeds, kept
from vitrify.bench.process import BackendError


def test_every_peer_is_fed_the_same():
    first, again = feeds(images=2), feeds(images=2)
    assert first["pixel_values"].shape == (2, 3, 224, 224)
    assert first["pixel_values"].dtype == np.float32
    np.testing.assert_array_equal(first["pixel_values"], again["pixel_values"])
    text = feeds(ids=[[7, 8, 9]])
    assert {name: rows.tolist() for name, rows in text.items()} == {
        "input_ids": [[7, 8, 9]],
        "attention_mask": [[1, 1, 1]],
        "token_type_ids": [[0, 0, 0]],
    }


def test_what_is_kept_of_a_pass_is_of_its_first_row():
    assert kept(np.arange(60).reshape(2, 5, 6)) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_a_pass_is_compared_with_the_reference_s():
    assert latency.compared([1.0, -3.75], [1.0, -4.0]) == {"difference": 0.0625}
    assert latency.compared([1.0], None) == {}
    with pytest.raises(BackendError, match="computes something else"):
        latency.compared([1.0, 2.0], [1.0, -4.0])
    with pytest.raises(BackendError, match="computes something else"):
        latency.compared([float("nan"), -4.0], [1.0, -4.0])


def test_every_work_names_ways_that_are_there():
    for encoder in latency._encoders():
        ways = latency._ways(encoder, Path("checkpoint"), Bundles({}, {"cpu-bf16": "no such CPU"}, []))
        names = [way.name for way in ways]
        assert len(set(names)) == len(names) == len({(way.program.name, way.variant) for way in ways})
        for work in latency._works(encoder, 40):
            assert list(work.ways) == names
            assert feeds(**work.arguments)
    with pytest.raises(BackendError, match="no such CPU"):
        next(way for way in ways if way.name == "cpu-bf16").model()


def test_a_case_is_a_row_of_baselines_and_one_for_each_profile():
    figure = {"median": 0.5, "q1": 0.4, "q3": 0.6}
    work = {
        "seconds": {"cpu-fp32": figure, "PyTorch fp32": figure},
        "ratios": {"PyTorch fp32 / cpu-fp32": figure},
        "failed": {"cpu-bf16": "no such CPU"},
    }
    (table,) = questions._latency({"models": {"BERT-base": {"work": {"1 x 16": work}}}})
    assert table.title == "BERT-base"
    assert table.columns == ("case", "profile", "vitrify", "PyTorch fp32")
    assert table.rows == (
        ("1 x 16", "(baselines)", "", "500 ms [400-600]"),
        ("", "`cpu-fp32`", "500 ms [400-600]", "0.50x"),
    )
    assert table.notes == ("No figure of cpu-bf16 for 1 x 16: no such CPU.",)


def test_where_auto_does_worst_beside_its_profiles_is_a_note():
    def ratios(**found):
        return {f"{name.replace('_', '-')} / auto": {"median": value} for name, value in found.items()}

    works = {"1 x 16": ratios(cpu_fp32=2.0, cpu_int8=0.8, optimum=0.5), "8 x 128": ratios(cpu_fp32=1.0, cpu_int8=3.0)}
    ((note,),) = [table.notes for table in questions._auto({"BERT-base": works}, 0.15)]
    assert "max relative error up to 0.15: at worst 1.25x the time of the fastest profile (BERT-base, 1 x 16)" in note
    assert questions._auto({"BERT-base": {"1 x 16": {"PyTorch fp32 / cpu-fp32": {"median": 2.0}}}}, None) == []
