import concurrent.futures
import gc
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.sessions.fake_gpu import FakeGpu
from tests.runtime.sessions.tensorrt.engine_bench import ENGINE, PLAN, RANGES, Bench, add, assert_right, feeds
from vitrify.runtime.errors import EnvironmentMissing, UnsupportedError, UsageError
from vitrify.runtime.sessions.tensorrt.execution import Execution


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_an_engine_says_what_it_takes_and_computes_it_at_every_size(bench):
    with bench.open() as session:
        assert session.inputs == ENGINE.inputs
        assert session.outputs == ENGINE.outputs
        assert session.providers == ("tensorrt-rtx",)
        assert session.graph == f"trt/{bench.path.name}"
        for sizes in ((2, 5, 3), (1, 1, 0), (4, 32, 16), (1, 1, 16), (2, 5, 3)):
            given = feeds(*sizes)
            assert_right(session.run(given), given)
    assert bench.names == ["tensorrt_rtx"]
    assert bench.trt.plans == [PLAN]


def test_arrays_of_any_layout_are_taken(bench):
    given = {
        "left": np.ones((5, 2), np.float32).T,
        "right": np.ones((2, 15), np.float32)[:, ::3],
        "past": np.arange(6, dtype=np.uint16).reshape(3, 2).T,
    }
    with bench.open() as session:
        assert_right(session.run(given), given)


def test_outputs_belong_to_the_caller(bench):
    with bench.open() as session:
        first, second = feeds(seed=1), feeds(seed=2)
        kept = session.run(first)
        session.run(second)
        assert_right(kept, first)


def test_bound_arrays_are_read_and_written_again_and_again(bench):
    given = feeds()
    outputs = {"sum": np.zeros((2, 5), np.float32), "present": np.zeros((2, 6), np.uint16)}
    with bench.open() as session:
        run = session.bind(given, outputs)
        for step in range(3):
            given["left"] += step
            run()
            assert_right(outputs, given)


def test_what_is_kept_stays_on_the_gpu_and_goes_into_the_next_run(bench):
    with bench.open() as session:
        given = feeds(2, 1, 1)
        past = given["past"]
        uploads, copies = len(bench.gpu.uploads), []
        for _ in range(4):
            outputs = session.run_keeping(given, ["present"])
            np.testing.assert_array_equal(outputs["sum"], given["left"] + given["right"])
            past = add(given["left"], given["right"], past)["present"]
            copies.append((outputs["present"], past))
            given = {**given, "past": outputs["present"]}
        assert bench.gpu.uploads[uploads:] == [np.float32, np.float32, np.uint16] + [np.float32] * 6
        for kept, expected in copies:
            assert kept.shape == expected.shape
            np.testing.assert_array_equal(kept.numpy(), expected)


def test_memory_of_what_nobody_keeps_is_used_again(bench):
    with bench.open() as session:
        given = feeds(1, 1, 4)
        kept = session.run_keeping(given, ["present"])["present"]
        buffers = len(bench.gpu.memory)
        for _ in range(5):
            kept = session.run_keeping(given, ["present"])["present"]  # the last is free once this is there
        assert len(bench.gpu.memory) == buffers + 1
        assert kept.shape == (1, 8)


def test_inputs_are_placed_once_for_many_runs(bench):
    with bench.open() as session:
        given = feeds(2, 3, 5)
        placed = session.placed({"left": given["left"].T.copy().T, "past": given["past"]})
        uploads = len(bench.gpu.uploads)
        for _ in range(3):
            assert_right(session.run_keeping({**given, **placed}, []), given)
        assert len(bench.gpu.uploads) == uploads + 3  # `right`
        with pytest.raises(UsageError, match=r"got \[5, 1\]"):
            session.run_keeping({**feeds(5, 1, 3), **session.placed({"past": feeds(5, 1, 3)["past"]})}, [])


def test_what_was_kept_is_gone_when_the_session_is_closed(bench):
    session = bench.open()
    kept = session.run_keeping(feeds(), ["present"])["present"]
    session.close()
    assert bench.gpu.closed  # which the fake refuses while memory is left
    with pytest.raises(UsageError, match="is closed: keep it open"):
        kept.numpy()
    del kept


def test_it_is_warm_when_it_is_open(bench):
    with bench.open():
        tuned = [{name: three[1] for name, three in one.items()} for one in RANGES.values()]
        assert bench.trt.ran == list(enumerate(tuned))
        assert bench.gpu.uploads == [one.array_dtype for one in ENGINE.inputs] * 2


def test_each_set_of_ranges_is_warm_even_where_an_earlier_one_holds_its_tuned_shapes(tmp_path):
    wide = {"wide": {**RANGES["prefill"], "past": ((1, 0), (1, 0), (4, 16))}, **RANGES}
    bench = Bench(tmp_path, replace(ENGINE, shapes=wide))
    with bench.open() as session:
        assert [profile for profile, _ in bench.trt.ran] == [0, 1, 2]
        assert_right(session.run(feeds(1, 1, 0)), feeds(1, 1, 0))  # whose first buffer was of no bytes


@pytest.mark.parametrize(
    ("sizes", "profile"),
    [((1, 1, 4), 0), ((4, 1, 16), 0), ((1, 2, 4), 1), ((4, 32, 0), 1), ((3, 7, 16), 1)],
)
def test_the_first_set_of_ranges_that_holds_all_sizes_is_used(bench, sizes, profile):
    with bench.open() as session:
        session.run(feeds(*sizes))
    assert bench.trt.ran[-1][0] == profile


def test_sets_of_ranges_may_take_turns(bench):
    with bench.open() as session:
        for sizes in ((1, 1, 4), (1, 8, 4), (1, 1, 5), (1, 1, 6), (1, 9, 0)):
            given = feeds(*sizes)
            assert_right(session.run(given), given)
    assert [profile for profile, _ in bench.trt.ran[2:]] == [0, 1, 0, 0, 1]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ((2, 33, 3), r"input 'left' .*got \[2, 33\].*decode \[1, 1\] to \[4, 1\]; prefill \[1, 1\] to \[4, 32\]"),
        ((5, 1, 3), r"input 'left' .*got \[5, 1\]"),
        ((2, 4, 17), r"input 'past' .*got \[2, 17\].*decode \[1, 0\] to \[4, 16\]"),
        ((0, 1, 3), r"got \[0, 1\]"),
    ],
)
def test_sizes_that_no_set_of_ranges_holds_are_refused(bench, sizes, words):
    with bench.open() as session:
        before = list(bench.trt.ran)
        with pytest.raises(UsageError, match=words):
            session.run(feeds(*sizes))
        assert bench.trt.ran == before


def test_inputs_that_fit_only_in_different_sets_are_refused(tmp_path):
    tight = {**RANGES, "prefill": {**RANGES["prefill"], "past": ((1, 0), (1, 0), (4, 0))}}
    bench = Bench(tmp_path, replace(ENGINE, shapes=tight))
    with bench.open() as session, pytest.raises(UsageError, match=r"'left' .*together with the other inputs"):
        session.run(feeds(2, 5, 3))


def test_an_engine_of_fixed_sizes_has_one_profile_and_no_ranges(tmp_path):
    inputs = tuple(replace(one, axes=(2, 5)) for one in ENGINE.inputs)
    bench = Bench(tmp_path, replace(ENGINE, shapes={}, inputs=inputs))
    with bench.open() as session:
        given = feeds(2, 5, 5)
        assert_right(session.run(given), given)
        with pytest.raises(UsageError, match=r"got float32\[2, 6\], expected float32\[2, 5\]"):
            session.run(feeds(2, 6, 5))
    assert [profile for profile, _ in bench.trt.ran] == [0, 0]


def test_buffers_grow_by_doubling_and_are_kept(bench):
    with bench.open() as session:
        tensors = len(ENGINE.inputs) + len(ENGINE.outputs)
        assert len(bench.gpu.memory) == tensors
        made = len(bench.gpu.sizes)
        session.run(feeds(2, 8, 4))
        session.run(feeds(1, 1, 1))
        grown = bench.gpu.sizes[made:]
        assert len(grown) <= 2  # past and present, whose tuned size was smaller
        made = len(bench.gpu.sizes)
        session.run(feeds(2, 9, 4))
        assert bench.gpu.sizes[made:] == [2 * 2 * 8 * 4] * 3  # left, right and sum: twice the tuned 2 x 8 floats
        session.run(feeds(2, 16, 4))
        assert len(bench.gpu.sizes) == made + 3
        assert len(bench.gpu.memory) == tensors


def test_runs_at_a_time_use_different_contexts_and_others_wait(tmp_path):
    together = threading.Barrier(3)
    waits = threading.Event()

    def kernel(**arrays):
        if waits.is_set():
            together.wait(timeout=20)
        return add(**arrays)

    bench = Bench(tmp_path, kernel=kernel)
    cases = [feeds(1 + index % 3, 1 + index % 4, index % 5, seed=index) for index in range(9)]
    with bench.open() as session, concurrent.futures.ThreadPoolExecutor(3) as pool:
        waits.set()
        for given, outputs in zip(cases, pool.map(session.run, cases), strict=True):
            assert_right(outputs, given)
    assert bench.trt.made == 3


def test_more_runs_than_contexts_take_turns(tmp_path):
    def kernel(**arrays):
        time.sleep(0.005)
        return add(**arrays)

    bench = Bench(tmp_path, kernel=kernel)
    cases = [feeds(seed=index) for index in range(64)]
    with bench.open() as session, concurrent.futures.ThreadPoolExecutor(16) as pool:
        for given, outputs in zip(cases, pool.map(session.run, cases), strict=True):
            assert_right(outputs, given)
    assert bench.trt.made <= 4


def test_runs_one_after_another_share_a_context(bench):
    with bench.open() as session:
        for seed in range(5):
            session.run(feeds(seed=seed))
    assert bench.trt.made == 1


def test_closing_frees_everything_and_says_so_afterwards(bench):
    session = bench.open()
    session.run(feeds())
    session.close()
    session.close()
    assert bench.gpu.closed  # which the fake refuses while memory or streams are left
    gc.collect()
    assert not bench.trt.alive
    with pytest.raises(UsageError, match="is closed"):
        session.run(feeds())


def test_an_execution_lets_its_context_go_when_it_closes():
    class Context:
        pass

    context = Context()
    gpu, alive = FakeGpu(), weakref.ref(context)
    execution = Execution(context, gpu, inputs=(), outputs=(), memory=None, said=str)
    del context
    assert alive()
    execution.close()
    assert not alive()
    gpu.close()


def test_a_session_that_nobody_closes_frees_everything_too(bench):
    session = bench.open()
    session.run(feeds())
    del session
    gc.collect()
    assert bench.gpu.closed


def test_closing_waits_for_a_run_under_way(tmp_path):
    begun, goes_on = threading.Event(), threading.Event()
    goes_on.set()

    def kernel(**arrays):
        begun.set()
        assert goes_on.wait(20)
        return add(**arrays)

    bench = Bench(tmp_path, kernel=kernel)
    session, given = bench.open(), feeds()
    begun.clear()
    goes_on.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(session.run, given)
        assert begun.wait(20)
        closing = pool.submit(session.close)
        assert not concurrent.futures.wait([closing], timeout=0.1).done
        assert not bench.gpu.closed
        goes_on.set()
        assert_right(running.result(20), given)
        closing.result(20)
    assert bench.gpu.closed


def test_a_run_that_fails_says_why_and_leaves_nothing_on_the_gpu(bench):
    with bench.open() as session:
        bench.trt.fails = True
        with pytest.raises(EnvironmentMissing, match="execute_async_v3: a kernel fell over"):
            session.run(feeds())
        assert not bench.gpu.memory
        bench.trt.fails = False
        given = feeds()
        assert_right(session.run(given), given)
    assert bench.trt.made == 2
    assert bench.gpu.closed


def test_a_full_gpu_is_said_and_small_runs_go_on(bench):
    with bench.open() as session:
        bench.gpu.room = 600
        with pytest.raises(EnvironmentMissing, match="memory is full"):
            session.run(feeds(4, 32, 16))
        assert not bench.gpu.memory
        given = feeds(1, 2, 3)
        assert_right(session.run(given), given)


def test_a_size_that_depends_on_values_is_unsupported(bench):
    bench.trt.shapes = lambda given: {"sum": (-1, 5), "present": (1, 1)}
    with pytest.raises(UnsupportedError, match=r"output 'sum' .*depends on values"):
        bench.open()
    assert bench.gpu.closed
