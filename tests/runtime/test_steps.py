import pytest

from vitrify.runtime.steps import Steps, duration


def test_steps_are_counted_and_the_rest_is_estimated():
    told, clock = [], iter([0.0, 10.0, 40.0, 40.0, 41.0])
    steps = Steps(told.append, {"read": 1, "trace": 3, "compare": 4}, clock=lambda: next(clock))
    for name in ("read", "trace", "compare", "trace", "something else"):
        steps.begin(name)
    assert told == [
        "step 1 of 3: read",
        "step 2 of 3: trace, about 70 s left",
        "step 3 of 3: compare, about 40 s left",
        "step 2 of 3: trace, about 4.7 min left",
        "something else",
    ]


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (89, "89 s"), (90, "1.5 min"), (9000, "2.5 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words
