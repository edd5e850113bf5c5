import pytest

from vitrify.runtime.counting import counted


@pytest.mark.parametrize(("count", "words"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases")])
def test_one_is_singular(count, words):
    assert counted(count, "case") == words
