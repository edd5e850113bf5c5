"""The store of decoders between calls: which one goes on, and which ones are kept."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vitrify.runtime.generation.decoders.prefixes import Prefixes


class Marked:
    """Stands for a decoder; a copy says so."""

    def __init__(self, name):
        self.name = name

    def clone(self):
        return Marked(f"copy of {self.name}")


def filled(*rows, **limits):
    prefixes = Prefixes(**{"shortest": 2, "entries": 9, **limits})
    for row in rows:
        prefixes.put(Marked(str(row)), np.array(row), size=10 * len(row))
    return prefixes


@pytest.mark.parametrize(
    ("prompt", "found", "left"),
    [
        ([1, 2, 3, 4], "[1, 2, 3]", 2),
        ([1, 2, 3], "[1, 2, 3]", 2),
        ([1, 2, 9, 9], "[1, 2, 9, 9, 9]", 2),
        ([1, 9, 9], None, 3),  # one token is not worth it
        ([7, 8, 9], None, 3),
        ([5, 5, 0], "copy of [5, 5, 5, 5, 5]", 3),  # much would be forgotten
    ],
    ids=str,
)
def test_the_one_with_most_in_common_goes_on(prompt, found, left):
    prefixes = filled([1, 2, 3], [5, 5, 5, 5, 5], [1, 2, 9, 9, 9])
    taken = prefixes.take(np.array(prompt))
    assert (taken and taken[0].name) == found
    assert len(prefixes.held) == left


def test_the_oldest_ones_go():
    assert [row.tolist() for row in filled([1], [2], [3], entries=2).held] == [[2], [3]]
    assert [row.tolist() for row in filled([1], [2, 2], [3, 3], most_bytes=40).held] == [[2, 2], [3, 3]]
    assert not filled([1, 1], most_bytes=10).held
    assert not filled([1], entries=0).held


def test_what_begins_another_goes():
    prefixes = filled([1, 2], [7, 8], [1, 2, 3], [1, 2, 3], [1, 2, 4])
    assert [row.tolist() for row in prefixes.held] == [[7, 8], [1, 2, 3], [1, 2, 4]]
    assert len(filled([1, 2, 3], [1, 2]).held) == 2


def test_no_decoder_is_in_two_calls_at_once():
    prefixes = filled([1, 2, 3, 4], [1, 2, 3])
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: prefixes.take(np.array([1, 2, 3, 4, 5])), range(64)))
    assert sorted(entry[0].name for entry in taken if entry) == ["[1, 2, 3, 4]", "[1, 2, 3]"]
