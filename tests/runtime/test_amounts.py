import pytest

from vitrify.runtime.amounts import counted, size_text


@pytest.mark.parametrize(("count", "words"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases")])
def test_one_is_singular(count, words):
    assert counted(count, "case") == words


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_345_678_901, "2.3 GB")])
def test_bytes_have_the_unit_that_fits(count, words):
    assert size_text(count) == words
