"""What every pipeline shares, on a task that needs no model: dispatch, laziness, batches, arguments, threads."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from tests.fakes import FakeBundle
from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.shared.base import Parameters, Pipeline
from vitrify.runtime.pipelines.shared.pieces import Piece


@dataclass(frozen=True)
class LettersParameters(Parameters):
    sign: str = ""
    mark: str | None = None
    limit: int | None = 9


class Letters(Pipeline):
    """A piece for each letter of a text; the result is twice the letters' numbers."""

    parameters = LettersParameters
    positional = ("sign",)

    def pieces(self, item, parameters):
        for letter in item[: parameters.limit]:
            yield Piece({"value": np.array(ord(letter) - ord("a"))}, letter)

    def result(self, pieces, outputs, parameters):
        doubled = (f"{piece.context}{int(out['doubled'])}" for piece, out in zip(pieces, outputs, strict=True))
        return parameters.sign.join(doubled) + (parameters.mark or "")


@pytest.fixture
def bundle():
    """A bundle whose graph doubles numbers."""
    return FakeBundle(lambda row: {"doubled": row["value"] * 2}, name="echo")


@pytest.fixture
def letters(bundle):
    return Letters(bundle, task="letters")


TEXTS = ["abc", "", "d", "ab"]
RESULTS = ["a0b2c4", "", "d6", "a0b2"]


def test_one_input_gives_its_result(letters):
    assert letters("abc") == "a0b2c4"


@pytest.mark.parametrize("many", [list, tuple])
def test_a_list_or_tuple_gives_a_list(letters, many):
    assert letters(many(TEXTS)) == RESULTS
    assert letters(many()) == []
    assert letters(many(["d"])) == ["d6"]


@pytest.mark.parametrize(
    "iterable",
    [
        iter,
        lambda texts: map(str, texts),
        lambda texts: (text for text in texts),
        lambda texts: dict.fromkeys(texts).keys(),
    ],
)
def test_other_iterables_are_lazy(letters, iterable):
    results = letters(iterable(TEXTS))
    assert not isinstance(results, list)
    assert list(results) == RESULTS


@pytest.mark.parametrize("size", [1, 3])
def test_lazy_results_are_as_many_as_inputs_that_know_their_number(letters, size):
    results = letters(dict.fromkeys(TEXTS).keys(), batch_size=size)
    assert len(results) == 4
    assert list(results) == RESULTS
    assert not hasattr(letters(iter(TEXTS), batch_size=size), "__len__")


def test_an_empty_iterator_gives_no_result(letters):
    assert list(letters(iter([]))) == []


@pytest.mark.parametrize(("size", "read"), [(1, [1, 2, 3, 4]), (4, [3, 3, 3, 4])])
def test_no_more_is_read_than_fills_a_batch(letters, size, read):
    taken = []

    def source():
        for text in TEXTS:
            taken.append(text)
            yield text

    results = letters(source(), batch_size=size)
    assert taken == []
    assert [(next(results), len(taken))[1] for _ in TEXTS] == read


def test_endless_input_is_served(letters):
    results = letters((text for _ in iter(int, 1) for text in ("ab",)), batch_size=3)
    assert [next(results) for _ in range(5)] == ["a0b2"] * 5


@pytest.mark.parametrize(
    ("size", "batches"), [(1, [1] * 6), (2, [2, 2, 2]), (4, [4, 2]), (5, [5, 1]), (6, [6]), (100, [6])]
)
def test_pieces_of_several_inputs_share_a_batch(bundle, letters, size, batches):
    assert letters(TEXTS, batch_size=size) == RESULTS
    assert bundle.batches == batches


def test_the_batch_size_is_set_when_made_or_per_call(bundle):
    letters = Letters(bundle, task="letters", batch_size=3)
    letters("abcd")
    letters("abcd", batch_size=4)
    letters("abcd", batch_size=None)
    assert bundle.batches == [3, 1, 4, 3, 1]


@pytest.mark.parametrize("size", [0, -1, 1.5, "2", True])
def test_a_batch_size_that_is_none_is_refused(bundle, letters, size):
    with pytest.raises(UsageError, match="batch_size"):
        letters("a", batch_size=size)
    with pytest.raises(UsageError, match="batch_size"):
        Letters(bundle, task="letters", batch_size=size)


@pytest.mark.parametrize("inputs", [None, 3, {"text": "a"}, b"abc", io.BytesIO(b"a\nb"), object()])
def test_what_is_no_input_is_refused_by_its_type(letters, inputs):
    with pytest.raises(UsageError, match=f"'letters' expects a text.*{type(inputs).__name__}"):
        letters(inputs)


def test_arguments_when_made_hold_until_a_call_gives_others(bundle):
    letters = Letters(bundle, task="letters", sign="-", mark="!", limit=2)
    assert letters("abc") == "a0-b2!"
    assert letters("abc", sign="+", limit=None) == "a0+b2+c4!"
    assert letters("abc", mark=None) == "a0-b2!"  # None is the default of mark: as good as absent
    assert letters("abc") == "a0-b2!"


def test_an_argument_may_stand_by_position(letters):
    assert letters("ab", "/") == "a0/b2"
    assert letters(["ab"], "/", num_workers=2) == ["a0/b2"]


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        (("a", "b"), {}, "accepts 1 arguments by position"),
        (("a",), {"sign": "b"}, "'sign' twice"),
        ((), {"sing": "b"}, "'sing'. It accepts: sign, mark, limit"),
    ],
)
def test_wrong_arguments_are_named(letters, args, options, words):
    with pytest.raises(UsageError) as refused:
        letters("ab", *args, **options)
    assert words in str(refused.value)


def test_wrong_arguments_are_refused_before_anything_is_read(letters):
    def source():
        raise AssertionError
        yield

    with pytest.raises(UsageError):
        letters(source(), sing="b")


def test_an_error_in_one_input_of_a_list_reaches_the_caller(letters):
    with pytest.raises(TypeError):
        letters(["a", None])


def test_threads_share_a_pipeline(bundle, letters):
    texts = ["abcdefgh"[:end] for end in range(9)] * 20
    expected = letters(texts)
    barrier = threading.Barrier(4)

    def call(size):
        barrier.wait(10)
        return letters(texts, batch_size=size)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(call, [1, 2, 3, 7]))
    assert found == [expected] * 4
    assert len(set(bundle.threads)) == 5


def test_it_says_what_it_is(letters):
    assert repr(letters) == "Letters(task='letters', bundle='echo', profile='cpu-fp32')"
    assert letters.profile == "cpu-fp32"
