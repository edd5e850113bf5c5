"""Which objects are many inputs, how they are read, and what their lazy results know."""

import codecs
import io
import re
import tempfile
from collections import UserDict, deque
from enum import Enum
from typing import Any

import numpy as np
import pytest
import torch

from vitrify.runtime.pipelines.shared.inputs import Results, count_of, inputs_of

ITEMS = ["a", "b", "c"]


class Sized:
    """As a data set of PyTorch: it has a length and no iterator, and no IndexError behind its end."""

    def __len__(self):
        return len(ITEMS)

    def __getitem__(self, index):
        return ITEMS[index % len(ITEMS)]


class Old:
    """Python's old protocol of sequences."""

    def __getitem__(self, index):
        return ITEMS[index]


class Unsized(Old):
    def __len__(self):
        raise NotImplementedError


class Torch(torch.utils.data.Dataset):
    def __getitem__(self, index):
        return ITEMS[index]

    def __len__(self):
        return len(ITEMS)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(ITEMS)


class Both(Sized):
    def __iter__(self):
        return iter(ITEMS)


MANY = {
    "sized": (Sized(), 3),
    "old": (Old(), None),
    "unsized": (Unsized(), None),
    "torch": (Torch(), 3),
    "subset": (torch.utils.data.Subset(Torch(), [0, 1, 2]), 3),
    "joined": (torch.utils.data.ConcatDataset([Torch()]), 3),
    "stream": (Stream(), None),
    "loader": (torch.utils.data.DataLoader(Torch(), batch_size=None), 3),
    "endless loader": (torch.utils.data.DataLoader(Stream(), batch_size=None), None),
    "both": (Both(), 3),
    "list": (ITEMS, 3),
    "deque": (deque(ITEMS), 3),
    "keys": (dict.fromkeys(ITEMS).keys(), 3),
    "array": (np.array(ITEMS), 3),
    "map": (map(str, ITEMS), None),
    "lines": (io.StringIO("a\nb\nc"), None),
}


@pytest.mark.parametrize("name", MANY)
def test_what_python_iterates_over_is_many(name):
    inputs, count = MANY[name]
    items = inputs_of(inputs)
    assert items is not None
    assert [str(item).strip() for item in items] == ITEMS
    assert count_of(inputs) == count


def test_an_index_is_read_when_it_is_its_turn():
    class Counting(Sized):
        taken = 0

        def __getitem__(self, index):
            self.taken += 1
            return super().__getitem__(index)

    inputs = Counting()
    items = inputs_of(inputs)
    assert items is not None
    assert inputs.taken == 0
    assert next(items) == "a"
    assert inputs.taken == 1


class Colour(Enum):
    RED = 1


NOT_MANY = {
    "none": None,
    "number": 3,
    "object": object(),
    "mapping": {"a": 1},
    "other mapping": UserDict(a=1),
    "bytes": b"a",
    "bytearray": bytearray(b"a"),
    "memoryview": memoryview(b"a"),
    "class": Sized,
    "class with items": list,
    "enum": Colour,
    "alias": list[int],
    "alias of typing": dict[str, Any],
    "match": re.match("a", "a"),
    "number of numpy": np.float32(1),
    "array of nothing": np.array(1),
    "tensor of nothing": torch.tensor(1),
    "binary stream": io.BytesIO(b"a\nb"),
}


@pytest.mark.parametrize("name", NOT_MANY)
def test_other_objects_are_not(name):
    assert inputs_of(NOT_MANY[name]) is None


def test_an_open_file_is_many_lines_only_where_it_is_text(tmp_path):
    path = tmp_path / "lines"
    path.write_text("a\nb\n")
    with path.open("rb") as buffered, path.open("rb", buffering=0) as raw, tempfile.NamedTemporaryFile() as wrapped:
        assert [inputs_of(file) for file in (buffered, raw, wrapped)] == [None] * 3
    with path.open() as text, codecs.open(str(path), encoding="utf-8") as decoded:
        assert list(inputs_of(text) or ()) == list(inputs_of(decoded) or ()) == ["a\n", "b\n"]


def test_lazy_results_have_a_length_and_an_end():
    ended = []

    def work():
        try:
            yield from ITEMS
        finally:
            ended.append(True)

    results = Results(work(), 3)
    assert len(results) == 3
    assert next(results) == "a"
    assert len(results) == 3
    results.close()
    assert ended == [True]
    assert list(results) == []
