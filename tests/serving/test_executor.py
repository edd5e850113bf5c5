"""The executor without a model: what runs first, what shares a run, and that nothing is run for who has left."""

import random
import threading
from dataclasses import dataclass, field

import pytest

from vitrify.serving.executor import CURRENT, Executor, Gone, Ticket, TooLate

SECONDS = 20


@dataclass
class Doubling:
    """A model that doubles numbers, and keeps what it ran; `bad` is a number that it fails on."""

    most: int = 64
    budget: int | None = 1024
    bad: int | None = None
    ran: list[list[int]] = field(default_factory=list)

    def run_now(self, rows):
        self.ran.append(list(rows))
        if self.bad in rows:
            raise ValueError("a bad row")
        return [2 * row for row in rows]


@pytest.fixture
def executor():
    made = Executor()
    yield made
    made.close()


class Busy:
    """Keeps an executor busy, so that what is handed over meanwhile waits; then lets it choose."""

    def __init__(self, executor):
        self.executor, self.begun, self.over = executor, threading.Event(), threading.Event()
        self.calls = []

    def __enter__(self):
        self.calls.append(Call(lambda: self.executor.run(self._wait), Ticket(SECONDS)))
        assert self.begun.wait(SECONDS)
        return self

    def _wait(self):
        self.begun.set()
        assert self.over.wait(SECONDS)

    def start(self, call, ticket):
        """Make a call for a request in a thread, which waits in the executor when this returns."""
        waiting, made = self.executor.waiting, Call(call, ticket)
        self.calls.append(made)
        while self.executor.waiting == waiting and made.thread.is_alive():
            pass
        return made

    def __exit__(self, *_):
        self.over.set()
        for call in self.calls:
            call.thread.join(SECONDS)


class Call:
    """A call in a thread, and what came of it."""

    def __init__(self, call, ticket):
        self.result = self.error = None
        self.thread = threading.Thread(target=self._make, args=(call, ticket))
        self.thread.start()

    def _make(self, call, ticket):
        CURRENT.set(ticket)
        try:
            self.result = call()
        except Exception as error:  # noqa: BLE001 - it is what is asked
            self.error = error


def rows_call(executor, model, rows, lengths=None):
    return lambda: executor.run_rows(model, rows, lengths or [1] * len(rows))


def test_what_is_due_first_runs_first(executor):
    order = []
    with Busy(executor) as busy:
        for patience in (30, 10, 20):
            busy.start(lambda patience=patience: executor.run(lambda: order.append(patience)), Ticket(patience))
    assert order == [10, 20, 30]


def test_a_long_request_does_not_starve(executor):
    """A piece is due as long after it was handed over as its request may take: later pieces of others wait behind."""
    order = []
    with Busy(executor) as busy:
        for name in ("long", "short", "short"):
            busy.start(lambda name=name: executor.run(lambda: order.append(name)), Ticket(SECONDS))
    assert order[0] == "long"


def test_work_without_a_request_comes_last(executor):
    order = []
    with Busy(executor) as busy:
        busy.start(lambda: executor.run(lambda: order.append("server")), None)
        busy.start(lambda: executor.run(lambda: order.append("client")), Ticket(SECONDS))
    assert order == ["client", "server"]


def test_rows_of_several_requests_share_a_run(executor):
    model = Doubling()
    with Busy(executor) as busy:
        calls = [busy.start(rows_call(executor, model, [n, -n]), Ticket(SECONDS)) for n in range(1, 6)]
    assert [call.result for call in calls] == [[2 * n, -2 * n] for n in range(1, 6)]
    assert len(model.ran) == 1


@pytest.mark.parametrize(
    ("model", "lengths", "runs"),
    [
        (Doubling(most=2), [1] * 5, [2, 2, 1]),
        (Doubling(most=1), [1] * 3, [1, 1, 1]),
        (Doubling(budget=300), [100] * 7, [3, 3, 1]),
        (Doubling(budget=None), [1000] * 7, [7]),
        (Doubling(), [1, 2000, 1, 2000], [2, 1, 1]),  # padding: the short ones, and each long one by itself
        (Doubling(budget=None), [100, 1000, 105, 990], [2, 2]),
        (Doubling(), [5, 60], [2]),  # padding that costs nothing
    ],
    ids=["rows", "never", "tokens", "any", "padding", "likest first", "small"],
)
def test_a_run_is_bounded_by_rows_tokens_and_padding(executor, model, lengths, runs):
    with Busy(executor) as busy:
        calls = [
            busy.start(rows_call(executor, model, [n], [length]), Ticket(SECONDS)) for n, length in enumerate(lengths)
        ]
    assert [call.result for call in calls] == [[2 * n] for n in range(len(lengths))]
    assert sorted(map(len, model.ran)) == sorted(runs)


def test_models_do_not_share_a_run(executor):
    one, other = Doubling(), Doubling()
    with Busy(executor) as busy:
        for model in (one, other, one):
            busy.start(rows_call(executor, model, [1]), Ticket(SECONDS))
    assert (one.ran, other.ran) == ([[1, 1]], [[1]])


def test_nothing_is_run_for_a_client_that_left_or_a_deadline_that_passed(executor):
    model, left, late = Doubling(), Ticket(SECONDS), Ticket(SECONDS)
    with Busy(executor) as busy:
        calls = [busy.start(rows_call(executor, model, [n]), ticket) for n, ticket in enumerate((left, late), 1)]
        kept = busy.start(rows_call(executor, model, [3]), Ticket(SECONDS))
        step = busy.start(lambda: executor.run(lambda: model.ran.append([4])), left)
        left.is_gone, late.came = True, late.came - 2 * SECONDS
    assert [type(call.error) for call in (*calls, step)] == [Gone, TooLate, Gone]
    assert (kept.result, model.ran, executor.dropped) == ([6], [[3]], 3)
    assert (left.pieces, late.pieces) == (0, 0)


def test_steps_of_several_requests_interleave(executor):
    order = []

    def steps(name):
        for _ in range(3):
            executor.run(lambda: order.append(name))

    with Busy(executor) as busy:
        for name in "ab":
            busy.start(lambda name=name: steps(name), Ticket(SECONDS))
    assert sorted(order) == sorted("ab" * 3)
    assert order[:2] == ["a", "b"]


def test_a_piece_may_run_another(executor):
    assert executor.run(lambda: executor.run(lambda: 3)) == 3


def test_an_error_reaches_who_asked_for_it_and_nobody_else(executor):
    model = Doubling(bad=2)
    with Busy(executor) as busy:
        calls = [busy.start(rows_call(executor, model, [n]), Ticket(SECONDS)) for n in (1, 2, 3)]
        step = busy.start(lambda: executor.run(lambda: 1 // 0), Ticket(SECONDS))
    assert [call.result for call in calls] == [[2], None, [6]]
    assert [type(call.error) for call in (*calls, step)] == [type(None), ValueError, type(None), ZeroDivisionError]
    assert executor.run(lambda: "still there") == "still there"


def test_a_ticket_counts_what_was_spent_on_it(executor):
    ticket = Ticket(SECONDS)
    call = Call(rows_call(executor, Doubling(), [1, 2], [3, 4]), ticket)
    call.thread.join(SECONDS)
    assert (ticket.tokens, ticket.pieces) == (7, 1)
    assert ticket.running > 0
    assert executor.runs == 1


def test_what_waits_is_counted(executor):
    with Busy(executor) as busy:
        busy.start(rows_call(executor, Doubling(), [1, 2], [3, 4]), Ticket(SECONDS))
        assert (executor.waiting, executor.tokens) == (1, 7)
    assert (executor.waiting, executor.tokens) == (0, 0)


def test_a_closed_executor_runs_nothing():
    executor, model = Executor(), Doubling()
    with Busy(executor) as busy:
        waiting = busy.start(rows_call(executor, model, [1]), Ticket(SECONDS))
        closing = Call(executor.close, None)
        while not executor.is_closed:
            pass
    closing.thread.join(SECONDS)
    assert isinstance(waiting.error, Gone)
    assert model.ran == []
    with pytest.raises(Gone):
        executor.run(lambda: 1)


# What many requests do to each other, by drawn schedules.


@dataclass
class Request:
    """A request of a schedule: its texts' lengths, and whether it leaves, or its time is over, before they run."""

    lengths: list[int]
    steps: int
    fate: str
    ticket: Ticket = field(default_factory=lambda: Ticket(SECONDS))

    def work(self, executor, model, number):
        rows = [1000 * number + n for n in range(len(self.lengths))]
        made = executor.run_rows(model, rows, self.lengths)
        return [*made, *(executor.run(lambda step=step: (number, step)) for step in range(self.steps))]

    def expected(self, number):
        return [2 * (1000 * number + n) for n in range(len(self.lengths))] + [(number, n) for n in range(self.steps)]


def drawn(generator):
    lengths = [round(10 ** generator.uniform(0, 3.301)) for _ in range(generator.randint(1, 4))]
    fate = generator.choice(["stays"] * 4 + ["leaves", "is late"])
    return Request(lengths, generator.choice([0, 0, 2]), fate, Ticket(generator.uniform(SECONDS, 3 * SECONDS)))


@pytest.mark.parametrize("seed", range(200))
def test_each_request_of_a_schedule_gets_what_it_gets_alone(executor, seed):
    generator = random.Random(seed)
    models = [Doubling(), Doubling(most=1), Doubling(most=3, budget=None)]
    requests = [drawn(generator) for _ in range(generator.randint(2, 8))]
    with Busy(executor) as busy:
        calls = [
            busy.start(
                lambda request=request, number=number: request.work(executor, models[number % 3], number),
                request.ticket,
            )
            for number, request in enumerate(requests)
        ]
        for request in requests:
            request.ticket.is_gone = request.fate == "leaves"
            request.ticket.came -= 4 * SECONDS if request.fate == "is late" else 0
    for number, (request, call) in enumerate(zip(requests, calls, strict=True)):
        fates = {"stays": type(None), "leaves": Gone, "is late": TooLate}
        assert type(call.error) is fates[request.fate]
        if request.fate == "stays":
            assert call.result == request.expected(number)
        else:
            assert not any(row // 1000 == number for model in models for batch in model.ran for row in batch)
            assert request.ticket.pieces == 0
    assert executor.dropped == sum(request.fate != "stays" for request in requests)
    assert all(len({row // 1000 for row in batch}) == 1 for batch in models[1].ran)
