import concurrent.futures
import threading

import pytest

from vitrify.runtime.sessions.pool import Pool, PoolClosed

SECONDS = 10


class Thing:
    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1


class Maker:
    def __init__(self):
        self.things = []

    def __call__(self):
        self.things.append(Thing())
        return self.things[-1]


def use_soon(pool):
    """Return what the pool lends within a few seconds; a place that was never left would be waited for forever."""
    lent = []

    def use():
        with pool.lent() as thing:
            lent.append(thing)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert lent, "no place was left"
    return lent[0]


def test_one_is_lent_again_and_closed_at_the_end():
    make = Maker()
    pool = Pool(make, most=2)
    for _ in range(3):
        with pool.lent() as thing:
            assert not thing.closed
    pool.close()
    assert [thing.closed for thing in make.things] == [1]
    with pytest.raises(PoolClosed), pool.lent():
        pass


def test_no_more_than_most_are_lent_at_a_time():
    make, together = Maker(), threading.Barrier(2)
    pool = Pool(make, most=2)

    def use(_):
        with pool.lent() as thing:
            together.wait(SECONDS)
            return thing

    with concurrent.futures.ThreadPoolExecutor(6) as threads:
        used = list(threads.map(use, range(6)))
    assert set(used) == set(make.things)
    assert len(make.things) == 2


def test_one_whose_use_raises_is_closed_and_leaves_its_place():
    make = Maker()
    pool = Pool(make, most=1)
    with pytest.raises(KeyError), pool.lent():
        raise KeyError
    assert use_soon(pool) is make.things[1]
    assert make.things[0].closed == 1


def test_an_error_in_closing_does_not_hide_the_first_one():
    class Stuck(Thing):
        def close(self):
            raise RuntimeError

    pool = Pool(Stuck, most=1)
    with pytest.raises(KeyError), pool.lent():
        raise KeyError
    assert not use_soon(pool).closed


def test_one_that_cannot_be_made_leaves_its_place():
    answers = iter([MemoryError(), None])

    def make():
        if error := next(answers):
            raise error
        return Thing()

    pool = Pool(make, most=1)
    with pytest.raises(MemoryError), pool.lent():
        pass
    assert not use_soon(pool).closed


def test_closing_waits_for_those_lent_and_refuses_those_that_wait():
    pool, begun, goes_on = Pool(Maker(), most=1), threading.Event(), threading.Event()

    def use():
        with pool.lent():
            begun.set()
            assert goes_on.wait(SECONDS)

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        using = threads.submit(use)
        assert begun.wait(SECONDS)
        waiting = threads.submit(use)
        closing = threads.submit(pool.close)
        with pytest.raises(PoolClosed):
            waiting.result(SECONDS)
        assert not concurrent.futures.wait([closing], timeout=0.1).done
        goes_on.set()
        using.result(SECONDS)
        closing.result(SECONDS)
