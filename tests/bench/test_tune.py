"""What `vitrify tune` takes for a gain: candidates as they were measured, no process."""

from vitrify.bench.tune import Candidate, medians, ordered

INT8, FP32 = Candidate("cpu-int8", "cpu-int8", 2), Candidate("cpu-fp32", "cpu-fp32", 2)
OTHER, FEWER = (
    Candidate("cpu-int8, other", "cpu-int8", 2, (("a", "1"),)),
    Candidate("cpu-int8, 1 thread", "cpu-int8", 1),
)
PLAIN = {FP32: {"short": [3.0, 3.0], "long": [30.0, 30.0]}, INT8: {"short": [1.0, 1.0], "long": [10.0, 10.0]}}


def names(variants):
    return [candidate.name for candidate, _ in ordered(PLAIN, variants, INT8)]


def rounds(*short, long=(10.0, 10.0, 10.0, 10.0)):
    return {"short": short, "long": long}


STEADY = rounds(1.0, 1.0, 1.0, 1.0)


def test_a_variant_that_gains_clearly_comes_first_and_the_rest_by_speed():
    gains = rounds(0.8, 0.8, 0.9, 0.8)
    found = names({INT8: STEADY, OTHER: gains, FEWER: rounds(2.0, 2.0, 2.0, 2.0)})
    assert found == ["cpu-int8, other", "cpu-int8", "cpu-int8, 1 thread", "cpu-fp32"]


def test_a_variant_that_gains_little_stays_behind():
    assert names({INT8: STEADY, OTHER: rounds(0.97, 0.97, 0.97, 0.97)})[0] == "cpu-int8"


def test_a_gain_that_half_of_the_rounds_deny_is_noise():
    assert names({INT8: STEADY, OTHER: rounds(0.5, 0.5, 0.9, 2.5)})[0] == "cpu-int8"
    assert names({INT8: rounds(1.0, 3.0, 1.0, 3.0), OTHER: rounds(0.9, 0.9, 3.5, 3.5)})[0] == "cpu-int8"


def test_a_variant_that_loses_a_case_is_not_worth_what_it_gains_in_another():
    assert names({INT8: STEADY, OTHER: rounds(0.5, 0.5, 0.5, 0.5, long=(11.0,) * 4)})[0] == "cpu-int8"


def test_turns_of_more_calls_are_compared_round_by_round():
    assert names({INT8: STEADY, OTHER: rounds(0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8)})[0] == "cpu-int8, other"
    assert medians({"short": [0.001, 0.003, 0.002]}) == {"short": 2.0}
