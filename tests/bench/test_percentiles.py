import pytest

from vitrify.bench.percentiles import latencies, percentile, ratio, spread


def test_a_percentile_is_a_sample_that_was_taken():
    samples = [float(value) for value in range(100, 0, -1)]
    assert [percentile(samples, share) for share in (0.5, 0.9, 0.95, 0.99, 1.0)] == [50, 90, 95, 99, 100]
    assert percentile([3.0], 0.99) == 3.0
    assert percentile([1.0, 2.0], 0.5) == 1.0


def test_latencies_are_what_samples_come_to():
    found = latencies([1.0, 2.0, 3.0, 4.0])
    assert found == {"p50": 2, "p90": 4, "p95": 4, "p99": 4, "mean": 2.5, "deviation": pytest.approx(1.118, abs=1e-3)}


def test_a_ratio_is_of_samples_of_one_round():
    assert ratio([2.0, 30.0], [1.0, 10.0])["median"] == 2.5
    assert spread([5.0])["q3"] == 5.0
