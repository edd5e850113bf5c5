"""deviations.toml: every row says what, what instead and why, and every group of rows is shown by tests that are there.

test_text_deviations.py checks the rows of the text tasks one by one.
"""

import re
import tomllib
from pathlib import Path

import pytest

from tests.imports import ROOT

TEXT = Path(__file__).with_name("deviations.toml").read_text(encoding="utf-8")
ROWS = {f"{task}.{name}": row for task, rows in tomllib.loads(TEXT).items() for name, row in rows.items()}
SHOWN = re.findall(r"^# Shown by (.*)\.$", TEXT, re.MULTILINE)


def paths(words):
    """Return the files of a sentence; a name alone is in the folder of the one before."""
    folder = ROOT
    for name in re.findall(r"[\w./]+\w", words.replace(" and ", ", ")):
        path = ROOT / name if "/" in name else folder / name
        folder = path.parent
        yield path


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_what_differs_and_why(name):
    assert set(ROWS[name]) == {"reference", "vitrify", "reason"}
    assert all(isinstance(text, str) and text for text in ROWS[name].values())


@pytest.mark.parametrize("words", SHOWN)
def test_what_shows_the_rows_is_there(words):
    found = list(paths(words))
    assert found
    assert [path for path in found if not path.exists()] == []


def test_every_group_of_rows_is_shown():
    groups = TEXT.split("# Shown by ")
    assert len(groups) == len(SHOWN) + 1
    assert all("\n[" in group for group in groups)
