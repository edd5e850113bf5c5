import json

import pytest

from benchmarks import ragged
from benchmarks.beside import AUTO
from benchmarks.questions import _ragged
from vitrify.bench.interleaved import Observations

OURS, SHIPPED, OTHER = "cpu-fp32", ragged.REFERENCE, "another"


def findings(**more):
    vectors = [[1.0, 0.0], [0.0, 2.0]]
    return Observations(
        samples={OURS: [1.0, 2.0], SHIPPED: [4.0, 4.0], OTHER: [2.0, 2.0]},
        made={OURS: vectors, SHIPPED: vectors, OTHER: [[1.0, 1.0], [0.0, 1.0]]},
        peak_mb={OURS: 200.0, SHIPPED: 500.0},
        failed={"cpu-bf16": "does not export: this CPU lacks it"},
        **more,
    )


def result():
    found = {
        "what": "MiniLM",
        "texts": {"count": 1000, "tokens": 62.4, "longest": 256},
        **ragged._summary(findings(), Observations()),
        "stream": {"megabytes": {"1000": {"median": 230.0}, "4000": {"median": 231.0}}},
    }
    assert json.loads(json.dumps(found)) == found
    return found


def test_ways_are_compared_by_rounds_and_by_their_vectors():
    found = result()
    assert set(found["ratios"]) == {f"{SHIPPED} / {OURS}", f"{OTHER} / {OURS}"}
    assert found["ratios"][f"{SHIPPED} / {OURS}"]["median"] == 3.0
    assert found["texts_per_second"][OURS]["median"] == 750.0
    assert found["cosine"] == pytest.approx({OURS: 1.0, OTHER: 0.5**0.5})


def test_ours_are_compared_where_they_ran_side_by_side():
    both = Observations(samples={OURS: [1.0, 1.0], AUTO: [2.0, 2.0], SHIPPED: [4.0, 4.0]})
    found = ragged._summary(both, Observations(samples={OURS: [2.0] * 6, AUTO: [1.0] * 6}))
    ratios = {name: each["median"] for name, each in found["ratios"].items()}
    assert ratios == {f"{SHIPPED} / {OURS}": 4.0, f"{SHIPPED} / {AUTO}": 2.0, f"{OURS} / {AUTO}": 2.0}
    assert (found["seconds"][OURS]["median"], found["seconds"][SHIPPED]["median"]) == (2.0, 4.0)


def test_what_was_measured_is_kept_where_ours_were_interrupted_in_their_first_round():
    found = ragged._summary(findings(), Observations(samples={OURS: []}))
    assert found == ragged._summary(findings(), Observations())


def test_the_table_names_every_way_and_says_why_one_has_no_figure():
    (table,) = _ragged(result())
    assert table.title == "1000 texts of 62 tokens on average through MiniLM"
    seconds, memory, cosine, ours = table.rows
    columns = {name: index for index, name in enumerate(table.columns)}
    assert ours[:4] == ("`cpu-fp32`", "1500 ms [1250-1750]", "200 MB", "1.0000")
    assert (seconds[columns[SHIPPED]], memory[columns[SHIPPED]], ours[columns[SHIPPED]]) == (
        "4.0 s [4.0-4.0]",
        "500 MB",
        "3.00x",
    )
    assert (cosine[columns[OTHER]], memory[columns[OTHER]]) == ("0.7071", "")
    assert table.notes == (
        "No figure of cpu-bf16 for these texts: does not export: this CPU lacks it.",
        "As a stream in a new process, `cpu-fp32`, peak memory: 230 MB for 1000 texts, 231 MB for 4000 texts.",
    )
