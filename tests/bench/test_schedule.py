import pytest

from vitrify.bench.interleaved import Observations, Processes, run_interleaved
from vitrify.bench.measure import CaseJob
from vitrify.bench.schedule import Plan, Schedule

PLAN = Plan(("batch 1", "batch 8"), 2, 4, 0.25, 0.25, rates=4, seconds=2.0)


def told(plan=PLAN, *, at):
    """Return a schedule whose clock says these seconds, one after the other, and what it tells."""
    clock, steps, details = iter([0.0, *at]), [], []
    return Schedule(plan, steps.append, details.append, clock=lambda: next(clock)), steps, details


def test_an_estimate_comes_before_anything_is_measured():
    _, steps, details = told(at=[])
    assert steps == ["2 cases, 2 backends, 4 rounds: about 65 s, longer if a call is slow"]
    assert details == []


def test_one_of_each_is_in_the_singular():
    assert str(Plan(("batch 1",), 1, 1, 0.25, 0.3)).startswith("1 case, 1 backend, 1 round: about ")


def test_cases_are_steps_and_rounds_are_details_with_what_is_left():
    schedule, steps, details = told(at=[PLAN.start, 20.0, 25.0, 60.0])
    schedule.begin_case("batch 1")
    schedule.begin_round(2)
    schedule.begin_arrivals(1)
    schedule.begin_case("batch 8")
    assert steps[1:] == ["case 1 of 2, about 54 s left: batch 1", "case 2 of 2, about 41 s left: batch 8"]
    assert details == [
        "case 1 of 2, round 2 of 4, about 48 s left: batch 1",
        "case 1 of 2, arrivals at backend 1 of 2, about 48 s left: batch 1",
    ]


@pytest.mark.parametrize("slower", [1, 3, 20])
def test_what_is_left_follows_how_long_it_took(slower):
    schedule, steps, _ = told(at=[slower * (PLAN.start + PLAN.case)])
    schedule.begin_case("batch 8")
    seconds = {1: "about 27 s", 3: "about 75 s", 20: "about 8 min"}
    assert seconds[slower] in steps[-1]


def test_every_round_is_told():
    rounds = []
    run_interleaved(CaseJob("a case", {}), [], Processes(), Observations(), rounds=3, told=rounds.append)
    assert rounds == [1, 2, 3]
