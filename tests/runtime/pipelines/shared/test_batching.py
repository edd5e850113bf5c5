"""Batches of like length cut from windows of inputs: order, sizes, what is read when, errors, and the thread's end."""

import subprocess
import sys
import threading
import time
from itertools import count, islice, repeat
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.runtime.pipelines.shared.words import Words, counting_bundle
from vitrify.runtime.pipelines.classes import pipeline_class
from vitrify.runtime.pipelines.shared.batching import BUDGETS, Limits
from vitrify.runtime.pipelines.shared.pieces import Piece
from vitrify.runtime.tasks import TASKS

ROOT = Path(__file__).parents[4]
SECONDS = 10
BUDGET = BUDGETS["cpu"]
LONG = "a" * 1000
# With batches of two: a window of short words, and one of long ones.
WINDOW, LONG_WINDOW = 32, 17


@pytest.fixture
def bundle():
    return counting_bundle()


@pytest.fixture
def words(bundle):
    return Words(bundle, task="words")


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert running() == []


def running():
    return [thread for thread in threading.enumerate() if thread.name == "vitrify batches"]


def texts(number, *, longest=60):
    draw = Random(0)
    return [" ".join("a" * draw.randint(1, longest) for _ in range(draw.randint(0, 4))) for _ in range(number)]


def expected(text):
    return [(word, len(word)) for word in text.split()]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 500])
@pytest.mark.parametrize("many", [list, iter])
def test_results_come_in_the_order_of_the_inputs(words, size, many):
    given = texts(300)
    assert list(words(many(given), batch_size=size)) == [expected(text) for text in given]


def test_rows_of_like_length_share_a_batch(words, bundle):
    words(texts(300), batch_size=8)
    rows = [length for batch in bundle.batches for length in batch]
    padded = sum(len(batch) * max(batch) for batch in bundle.batches)
    assert sum(rows) / padded > 0.9
    assert len(bundle.batches) < len(rows) / 7


def test_the_longest_of_a_window_run_first(words, bundle):
    words(["a aaa", "aa", "aaaaa aaaa"], batch_size=2)
    assert bundle.batches == [[5, 4], [3, 2], [1]]


@pytest.mark.parametrize(
    ("lengths", "rows", "tokens", "batches"),
    [
        ([9, 8, 7, 2, 2, 1], 2, None, [2, 2, 2]),
        ([9, 8, 7, 2, 2, 1], 4, 18, [2, 2, 2]),
        ([9, 8, 7, 2, 2, 1], 9, 17, [1, 2, 3]),
        ([30, 20, 2, 2], 9, 10, [1, 1, 2]),
        ([0, 0, 0], 2, 10, [2, 1]),
        ([], 2, 10, []),
    ],
)
def test_a_batch_has_so_many_rows_and_tokens_at_most(lengths, rows, tokens, batches):
    assert [len(lengths[batch]) for batch in Limits(rows, tokens).cut(lengths)] == batches


@pytest.mark.parametrize(("provider", "rows"), [("cpu", BUDGET // 300), ("cuda", 64)])
def test_the_budget_is_for_processors_that_few_tokens_keep_busy(words, bundle, provider, rows):
    bundle.profile.provider = provider
    words(["a" * 300] * 64, batch_size=64)
    assert max(map(len, bundle.batches)) == rows


@pytest.mark.parametrize(("word", "window"), [("a", WINDOW), (LONG, LONG_WINDOW)])
def test_no_more_than_two_windows_are_read_ahead_of_the_results(words, bundle, word, window):
    bundle.before_each = lambda _: time.sleep(0.001)  # so that reading is always ahead
    read = count()
    results = words((word for _ in iter(lambda: next(read), None)), batch_size=2)
    for done in range(5 * window):
        next(results)
        assert read.__reduce__()[1][0] <= done + 1 + 2 * window
    results.close()


def test_nothing_is_read_before_a_result_is_asked_for(words):
    taken = []
    results = words(map(taken.append, texts(3)), batch_size=2)
    assert taken == []
    results.close()


def test_one_at_a_time_each_result_comes_before_the_next_input_is_read(words, bundle):
    taken = []
    results = words((taken.append(text) or text for text in texts(9)), batch_size=1)
    assert [len(taken) for _ in results] == list(range(1, 10))
    assert set(bundle.threads) == {threading.main_thread()}


def test_one_window_runs_in_the_callers_thread(words, bundle):
    words("a aa aaa", batch_size=2)
    words(["a", "aa", "aaa"], batch_size=2)
    assert set(bundle.threads) == {threading.main_thread()}


def test_inputs_are_read_in_the_callers_thread_while_a_window_runs_in_another(words, bundle):
    more, readers = threading.Event(), set()

    def source():
        for index in range(2 * WINDOW):
            readers.add(threading.current_thread())
            if index > WINDOW:
                more.set()
            yield "a"

    overlapped = []
    bundle.before_each = lambda _: overlapped.append(more.wait(0 if False in overlapped else SECONDS))
    assert len(list(words(source(), batch_size=2))) == 2 * WINDOW
    assert all(overlapped)
    assert readers == {threading.main_thread()}
    assert threading.main_thread() not in bundle.threads


def test_what_is_done_is_given_before_the_next_window_is_full(words):
    taken = []

    def source():
        for index in range(WINDOW + 3):
            while index == WINDOW and running():
                time.sleep(0.001)
            taken.append(index)
            yield "a"

    results = words(source(), batch_size=2)
    next(results)
    assert len(taken) == WINDOW + 1
    results.close()


@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize("place", [0, 1, WINDOW - 1, WINDOW, 5 * WINDOW + 3])
@pytest.mark.parametrize("bad", ["source", "pieces"])
def test_an_error_of_an_input_comes_after_the_results_of_those_before(words, size, place, bad):
    def source():
        yield from repeat("a", place)
        if bad == "source":
            raise LookupError(place)
        yield None
        raise AssertionError

    results, found = words(source(), batch_size=size), []
    with pytest.raises((LookupError, AttributeError)):
        found.extend(results)
    found.extend(results)
    assert found == [[("a", 1)]] * place


@pytest.mark.parametrize("place", [0, 1, WINDOW - 1, WINDOW, 5 * WINDOW + 3])
def test_an_error_of_the_graph_comes_after_the_results_of_those_before(words, bundle, place):
    def fail(lengths):
        if 7 in lengths:
            raise LookupError(place)

    bundle.before_each = fail
    # An odd length in between: the row that fails has a batch for itself, the first of its window.
    given = [*repeat("a", place), "aaaaaaa aaaaaaa", *repeat("a", 3 * WINDOW)]
    results, found = words(iter(given), batch_size=2), []
    with pytest.raises(LookupError):
        found.extend(results)
    assert found == [[("a", 1)]] * place


def test_a_list_raises_what_a_stream_raises(words):
    with pytest.raises(AttributeError):
        words(["a", None, "a"], batch_size=2)


@pytest.mark.parametrize("end", ["close", "drop", "throw"])
def test_a_stream_that_is_left_runs_no_further_batch(words, bundle, end):
    results = words(repeat("a"), batch_size=2)
    next(results)
    bundle.before_each = lambda _: time.sleep(0.02)
    for _ in range(WINDOW):
        next(results)
    before = len(bundle.batches)
    if end == "close":
        results.close()
    elif end == "throw":
        with pytest.raises(LookupError):
            results.throw(LookupError())
    del results
    assert running() == []
    assert len(bundle.batches) <= before + 2


def test_a_process_ends_though_a_stream_was_not_read_to_its_end():
    program = f"""
import sys, time; sys.path.insert(0, {str(ROOT)!r})
from itertools import repeat
from tests.runtime.pipelines.shared.words import Words, counting_bundle
delays = [0.01]
bundle = counting_bundle(before_each=lambda _: time.sleep(delays[0]))
results = Words(bundle, task="words")(repeat("a"), batch_size=2)
next(results)  # of the first window: the second one is running
delays[0] = 1
start = time.monotonic()
import atexit; atexit.register(lambda: print(time.monotonic() - start))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert float(done.stdout) < 4
    assert done.stderr == ""


class Pictures(Words):
    """A piece that is no text: the item itself, [values]."""

    def pieces(self, item, parameters):
        yield Piece({"pixel_values": np.zeros(int(item))}, item)

    def result(self, pieces, outputs, parameters):
        return int(outputs[0]["size"])


def test_what_has_no_length_runs_in_batches_of_its_own_order_and_few_wait(bundle):
    sizes, read = [], []

    def run_rows(rows):
        sizes.append([row["pixel_values"].size for row in rows])
        return [{"size": np.array(row["pixel_values"].size)} for row in rows]

    bundle.run_rows = run_rows
    given = [20_000 + index % 3 for index in range(10)]
    results = Pictures(bundle, task="pictures")((read.append(each) or str(each) for each in given), batch_size=4)
    assert next(results) == given[0]
    assert len(read) <= 8
    assert list(results) == given[1:]
    assert sizes == [given[:4], given[4:8], given[8:]]


def test_what_a_result_is_made_of_does_not_hold_the_batch(words, bundle):
    rows = []

    def run_rows(feeds):
        states = np.zeros((len(feeds), 5))
        return [{"states": states[index]} for index in range(len(feeds))]

    bundle.run_rows = run_rows
    words.result = lambda pieces, outputs, parameters: rows.extend(output["states"] for output in outputs)
    words(["a", "aa", "aaa"], batch_size=3)
    assert [array.base for array in rows] == [None] * 3


def test_tasks_that_generate_run_their_rows_as_they_come():
    ahead = {task.name for task in TASKS if pipeline_class(task).reads_ahead}
    assert ahead == {
        "text-classification",
        "token-classification",
        "question-answering",
        "fill-mask",
        "feature-extraction",
        "zero-shot-classification",
        "text-embedding",
        "text-ranking",
        "image-classification",
        "image-feature-extraction",
    }


def test_threads_share_a_pipeline(words):
    given = texts(200)
    made = {}
    callers = [
        threading.Thread(target=lambda size=size: made.update({size: list(words(iter(given), batch_size=size))}))
        for size in (2, 3, 5)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert list(made.values()) == [[expected(text) for text in given]] * 3


def test_an_endless_stream_is_served(words):
    assert list(islice(words(repeat("a aa"), batch_size=4), 500)) == [expected("a aa")] * 500
