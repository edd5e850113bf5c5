"""docs/types.md is what the last sweep found: every tested type with every head, and what each profile refused."""

import json

from benchmarks.types_table import PAGE, RESULTS, ROOT, page
from tests.parity.every_profile import EXACT, is_listed

ROWS = json.loads((ROOT / RESULTS).read_text())["rows"]


def test_the_page_is_made_from_the_result_file():
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page()


def test_what_was_refused_is_listed_and_nothing_else():
    assert [row for row in ROWS if row["passed"] == is_listed(row)] == []
    assert not any(row["profile"] == EXACT for row in ROWS if not row["passed"])
