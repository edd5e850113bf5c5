"""Outcomes keep the order of the rows, whatever is wrong with some of them, one at a time or in batches."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from vitrify.runtime.errors import DependencyMissing, IntegrityError, UsageError
from vitrify.runtime.rows.record import InputRow, Outcome
from vitrify.runtime.rows.running import run_rows
from vitrify.runtime.rows.writing import json_line, json_text


def row(number, value, **more):
    return InputRow(number, value, where=f"line {number}", **more)


def upper(size):
    """Return a pipeline that reads `size` texts before it gives their results, and fails of "bad"."""

    def call(values):
        read = []
        for value in values:
            if value == "bad":
                raise UsageError("it is bad")
            read.append(value.upper())
            if len(read) == size:
                yield from read
                read.clear()
        yield from read

    return call


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("words", ["a bad b", "bad", "bad bad", "a b c bad", "bad a b bad c d e f bad", "a b", ""])
def test_every_row_has_its_outcome_in_order(size, words):
    rows = [row(number, word) for number, word in enumerate(words.split(), 1)]
    found = list(run_rows(upper(size), iter(rows)))
    assert [each.row for each in found] == rows
    assert [each.output for each in found] == [None if w == "bad" else w.upper() for w in words.split()]
    assert [str(each.error) for each in found if each.error] == [
        f"line {each.number}: it is bad" for each in rows if each.value == "bad"
    ]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_a_row_that_was_not_read_keeps_its_place(size):
    broken = UsageError("line 2 is not JSON")
    rows = [row(1, "a"), row(2, None, error=broken), row(3, "b"), row(4, None, error=broken)]
    found = list(run_rows(upper(size), rows))
    assert [each.output for each in found] == ["A", None, "B", None]
    assert [each.error for each in found] == [None, broken, None, broken]


@pytest.mark.parametrize("size", [1, 100])
def test_inputs_that_end_with_an_error_give_what_came_before(size):
    def rows():
        yield row(1, "a")
        yield row(2, "bad")
        yield row(3, "b")
        raise UsageError("stdin cannot be read")

    found = run_rows(upper(size), rows())
    assert [next(found).output for _ in range(3)] == ["A", None, "B"]
    with pytest.raises(UsageError, match="stdin cannot be read"):
        next(found)


@pytest.mark.parametrize("error", [DependencyMissing("pillow is not installed"), IntegrityError("sha256 differs")])
def test_what_is_no_row_s_fault_ends_the_run(error):
    def call(values):
        next(values)
        raise error
        yield

    with pytest.raises(type(error)):
        list(run_rows(call, [row(1, "a"), row(2, "b")]))


def test_many_bad_rows_do_not_nest():
    rows = (row(number, "bad") for number in range(1, 5001))
    assert sum(each.error is not None for each in run_rows(upper(8), rows)) == 5000


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(row(1, "a"), {"x": 1}), {"number": 1, "output": {"x": 1}}),
        (Outcome(row(2, "a", id="k"), np.ones((1, 2), np.float32)), {"number": 2, "id": "k", "output": [[1.0, 1.0]]}),
        (Outcome(row(3, None), error=UsageError("why")), {"number": 3, "error": "why", "exit_code": 2}),
    ],
)
def test_lines_of_json(outcome, expected):
    assert json.loads(json_line(outcome)) == expected


def test_what_json_does_not_know_is_written_all_the_same():
    given = {"array": np.arange(2), "number": np.float32(0.5), "é": SimpleNamespace}
    assert json.loads(json_text(given)) == {"array": [0, 1], "number": 0.5, "é": str(SimpleNamespace)}
