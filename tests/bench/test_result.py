import csv
import dataclasses
import json

import pytest

from tests.bench.results import RESULT
from vitrify.bench.result import Result, Row
from vitrify.runtime.errors import IntegrityError, UsageError


def test_what_was_written_is_read_again(tmp_path):
    RESULT.write(tmp_path / "result.json")
    assert Result.read(tmp_path / "result.json") == RESULT


def test_the_document_has_figures_beside_samples():
    document = RESULT.to_json()
    assert document["schema"] == 1
    assert document["rows"][0]["latency_ms"]["p50"] == 11.0
    assert document["loads"][0]["latency_ms"]["p99"] == 20.0
    (found,) = document["ratios"]
    assert (found["peer"], found["contender"], found["median"]) == ("torch", "cpu-fp32", 2.5)
    assert json.loads(json.dumps(document)) == json.loads(json.dumps(RESULT.to_json()))


def test_csv_has_one_line_for_each_row_even_for_one_that_failed():
    failed = dataclasses.replace(RESULT, rows=(*RESULT.rows, Row("batch 1", "torch", failed='no "torch", here')))
    rows = list(csv.DictReader(failed.to_csv().splitlines()))
    assert [row["p50_ms"] for row in rows] == ["11.0", "24.0", ""]
    assert rows[0]["batch"] == "1"
    assert rows[2]["failed"] == 'no "torch", here'


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (None, UsageError, "no result in"),
        ("{", IntegrityError, "is not a result"),
        ("[]", IntegrityError, "is not a result"),
        ('{"schema": 7}', IntegrityError, "schema 7, this vitrify reads schema 1"),
        ('{"schema": 1}', IntegrityError, "is broken"),
        ('{"schema": 1, "rows": [1], "cases": [], "contenders": [], "loads": []}', IntegrityError, "is broken"),
    ],
)
def test_what_is_no_result_is_told(tmp_path, text, error, said):
    path = tmp_path / "result.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=said):
        Result.read(path)
