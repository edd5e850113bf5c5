import dataclasses

import pytest

from tests.bench.results import RESULT
from vitrify.bench.gate import check_baseline, figures, require_kept
from vitrify.bench.result import Row
from vitrify.runtime.errors import PerformanceError, UsageError
from vitrify.runtime.verification.conditions import read_condition

SLOWER = dataclasses.replace(RESULT.rows[0], samples_ms=(20.0, 24.0, 22.0), throughput=45.0)
NOW = dataclasses.replace(RESULT, rows=(SLOWER, RESULT.rows[1]))


def kept(result, *conditions, baseline=None):
    require_kept(result, [read_condition(text) for text in conditions], baseline)


def test_the_figures_of_a_row_by_name():
    found = figures(NOW, SLOWER, NOW.backends[0], RESULT)
    assert found["p50"] == 22.0
    assert found["p50_ratio"] == 2.0
    assert found["throughput_ratio"] == 0.5
    assert found["torch_ratio"] == pytest.approx(1.25)
    assert {"load", "first", "peak", "roofline"} <= set(found)


def test_what_keeps_its_conditions_passes():
    conditions, found = ("p50>25", "torch_ratio<1", "p50_ratio>3"), figures(NOW, SLOWER, NOW.backends[0], RESULT)
    assert not any(read_condition(text).holds(found) for text in conditions)
    kept(NOW, *conditions, baseline=RESULT)
    kept(NOW)


@pytest.mark.parametrize("condition", ["p50>20", "torch_ratio<2", "p95_ratio>1.05", "throughput_ratio<0.9"])
def test_a_condition_that_holds_fails_and_names_where(condition):
    with pytest.raises(PerformanceError, match=r"cpu-fp32 at batch 1: .* is ") as caught:
        kept(NOW, condition, baseline=RESULT)
    assert caught.value.exit_code == 5


def test_a_row_of_ours_that_failed_fails_the_gate_and_a_peer_s_does_not():
    kept(dataclasses.replace(NOW, rows=(SLOWER, Row("batch 1", "torch", failed="crashed"))), "p50>25")
    with pytest.raises(PerformanceError, match="has no figure: out of memory"):
        kept(dataclasses.replace(NOW, rows=(Row("batch 1", "cpu-fp32", failed="out of memory"),)), "p50>25")


def test_a_figure_that_is_none_is_told():
    with pytest.raises(UsageError, match="no metric is called 'p50_ratio'"):
        kept(NOW, "p50_ratio>1")


@pytest.mark.parametrize("other", [{"cpu": "another"}, {"cores": 4}, {"features": []}])
def test_a_baseline_from_another_machine_is_refused_unless_forced(other):
    with pytest.raises(UsageError, match="from another machine"):
        check_baseline({**RESULT.environment, **other}, RESULT)
    check_baseline({**RESULT.environment, **other}, RESULT, forced=True)
    check_baseline(RESULT.environment, RESULT)
