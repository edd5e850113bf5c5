"""What the largest accepted difference may be."""

import math

import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.selection.find import check_max_drift


@pytest.mark.parametrize("given", [math.nan, math.inf, -1, -0.001, True, "0.1", None])
def test_what_is_no_difference_is_refused(given):
    with pytest.raises(UsageError, match="max_drift: got"):
        check_max_drift(given)


@pytest.mark.parametrize("given", [0, 0.05, 3])
def test_a_number_is_accepted(given):
    assert check_max_drift(given) is None
