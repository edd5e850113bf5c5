"""The comparison itself: it must be able to fail."""

import numpy as np
import pytest

from tests.parity.compare import assert_same


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"label": "a", "score": 0.5}, [{"label": "a", "score": 0.5}]),
        ([{"label": "a", "score": 0.6}], [{"label": "a", "score": 0.5}]),
        ([{"label": "b", "score": 0.5}], [{"label": "a", "score": 0.6}]),
        ([{"score": 0.5, "label": "a"}], [{"label": "a", "score": 0.5}]),
        ([{"label": "a", "score": np.float32(0.5)}], [{"label": "a", "score": np.float32(0.5)}]),
        ([{"label": "a", "score": 0.5}] * 2, [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.5}]),
        (
            [{"label": "b", "score": 0.6}, {"label": "a", "score": 0.5}],
            [{"label": "a", "score": 0.6}, {"label": "b", "score": 0.5}],
        ),
        ({"labels": ["b", "a"], "scores": [0.6, 0.5]}, {"labels": ["a", "b"], "scores": [0.6, 0.5]}),
        ([{"entity": "A", "score": 0.5, "start": 1}], [{"entity": "A", "score": 0.5, "start": 0}]),
        ([1.0], [1]),
        ([[0.5]], [[0.5], [0.5]]),
        (float("nan"), 0.5),
    ],
)
def test_the_comparison_can_fail(wrong, right):
    with pytest.raises(AssertionError):
        assert_same(wrong, right, tolerance=1e-3)


def test_the_comparison_lets_ties_change_places():
    first, second, third = ({"label": label, "score": 0.5} for label in "abc")
    assert_same([second, first], [first, second], tolerance=1e-3)
    assert_same([first, third], [first, second], tolerance=1e-3)  # a tie at the end of a top-k
