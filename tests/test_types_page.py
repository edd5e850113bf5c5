"""docs/types.md is what the last sweep found: every tested type with every head, and what each profile refused."""

import json

import pytest

from benchmarks import tolerances_table
from benchmarks.types_table import PAGE, RESULTS, ROOT, page
from tests.checkpoints import GENERATIVE_PAIRS, PAIRS
from tests.parity.every_profile import EXACT, REFUSED, is_listed
from tests.parity.tested_types import UNTRACEABLE

ROWS = json.loads((ROOT / RESULTS).read_text())["rows"]


def test_the_page_is_made_from_the_result_file():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page()


def test_the_tolerances_are_beside_what_was_measured():
    assert (ROOT / tolerances_table.PAGE).read_text(encoding="utf-8") == tolerances_table.page()


def test_every_type_and_head_has_its_row():
    wanted = {pair for pair in (*PAIRS, *GENERATIVE_PAIRS) if pair[0] not in UNTRACEABLE}
    assert {(row["type"], row["head"]) for row in ROWS if row["profile"] == EXACT} == wanted


def test_what_was_refused_is_listed_and_nothing_else():
    assert [row for row in ROWS if row["passed"] == is_listed(row)] == []
    assert not any(row["profile"] == EXACT for row in ROWS if not row["passed"])


@pytest.mark.parametrize("profile", REFUSED)
def test_every_listed_refusal_was_met(profile):
    met = {name for row in ROWS if row["profile"] == profile for name in (row["type"], f"{row['type']} {row['head']}")}
    assert set(REFUSED[profile]) <= met
