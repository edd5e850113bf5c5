import time

import numpy as np
import pytest

from vitrify.bench.backends.serving import serve
from vitrify.bench.measure import drawn_arrivals


def test_latency_counts_from_the_intended_start_so_queueing_shows():
    found = serve(lambda: time.sleep(0.05), [0.0, 0.0, 0.0, 1.0])
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.14  # two others were served before it
    assert found[3] < 0.12  # nobody was


def test_arrivals_are_seeded_ascending_and_of_the_rate():
    arrivals = drawn_arrivals(50.0, 20.0)
    assert arrivals == drawn_arrivals(50.0, 20.0)
    assert len(arrivals) == 1000
    assert (np.diff(arrivals) > 0).all()
    assert arrivals[-1] == pytest.approx(20.0, rel=0.15)
    # The gaps of a Poisson process deviate by as much as they are long.
    assert np.diff(arrivals).std() == pytest.approx(1 / 50, rel=0.15)
    assert len(drawn_arrivals(0.01, 1.0)) == 1
