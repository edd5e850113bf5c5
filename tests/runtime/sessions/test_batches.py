"""Rows as one batch of a graph: what fills them up, on which side, and what is cut off of the outputs."""

from types import SimpleNamespace

import numpy as np
import pytest

from vitrify import load_bundle
from vitrify.runtime.errors import UsageError
from vitrify.runtime.graphs.signature import Graph, Tensor
from vitrify.runtime.sessions.batches import batches, run_together

SIDES = ("right", "left")


class Doubling:
    """A model that doubles its ids: outputs have the tokens on different axes, or on none."""

    input_names = ("input_ids", "attention_mask")
    session = SimpleNamespace(
        outputs=(
            Tensor("doubled", "int64", ("batch", "sequence")),
            Tensor("turned", "int64", ("batch", 2, "sequence")),
            Tensor("states", "int64", ("batch", "sequence", 2)),
            Tensor("sum", "int64", ("batch",)),
        )
    )

    def __call__(self, **feeds):
        self.feeds = feeds
        ids = feeds["input_ids"] * 2
        return {
            "doubled": ids,
            "turned": np.stack([ids, -ids], axis=1),
            "states": np.stack([ids, -ids], axis=2),
            "sum": ids.sum(1),
        }


def row(*ids):
    return {"input_ids": np.array(ids), "attention_mask": np.ones(len(ids), np.int8), "unread": np.zeros(3)}


def tokenizer(*, pad=9, side="right"):
    return SimpleNamespace(pad_token_id=pad, padding_side=side)


@pytest.mark.parametrize("side", SIDES)
def test_rows_are_filled_on_the_tokenizers_side(side):
    model = Doubling()
    run_together(model, [row(1, 2, 3), row(4)], least=1, tokenizer=tokenizer(side=side))
    filled, mask = ([4, 9, 9], [1, 0, 0]) if side == "right" else ([9, 9, 4], [0, 0, 1])
    assert model.feeds["input_ids"].tolist() == [[1, 2, 3], filled]
    assert model.feeds["attention_mask"].tolist() == [[1, 1, 1], mask]
    assert model.feeds["attention_mask"].dtype == np.int8
    assert set(model.feeds) == {"input_ids", "attention_mask"}


@pytest.mark.parametrize("side", SIDES)
def test_outputs_are_cut_on_the_axis_of_the_tokens(side):
    long, short = run_together(Doubling(), [row(1, 2, 3), row(4)], least=1, tokenizer=tokenizer(side=side))
    assert {name: values.tolist() for name, values in short.items()} == {
        "doubled": [8],
        "turned": [[8], [-8]],
        "states": [[8, -8]],
        "sum": 8 + 2 * 2 * 9,
    }
    assert long["turned"].tolist() == [[2, 4, 6], [-2, -4, -6]]


@pytest.mark.parametrize("side", SIDES)
def test_a_row_is_filled_to_what_the_graph_takes_at_least(side):
    model = Doubling()
    (only,) = run_together(model, [row(1, 2)], least=4, tokenizer=tokenizer(side=side))
    assert model.feeds["input_ids"].shape == (1, 4)
    assert only["doubled"].tolist() == [2, 4]


def test_without_a_pad_token_only_equal_lengths_share_a_batch():
    model = Doubling()
    run_together(model, [row(1, 2), row(3, 4)], least=1, tokenizer=tokenizer(pad=None))
    assert model.feeds["input_ids"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(UsageError, match=r"no pad token.*batch_size=1"):
        run_together(model, [row(1, 2), row(3)], least=1, tokenizer=tokenizer(pad=None))


def test_no_memory_is_planned_for_each_length_that_texts_have(exported):
    session = load_bundle(exported.bundle, threads=1).model.session
    assert not session._session.get_session_options().enable_mem_pattern


@pytest.mark.parametrize(
    ("rows", "found"), [("batch", [[0, 2, 4], [1]]), (1, [[0], [2], [4], [1]]), (2, [[0, 2], [4], [1]])]
)
def test_a_graph_of_fixed_rows_runs_no_more_at_once(rows, found):
    graph = Graph((Tensor("input_ids", "int64", (rows, "sequence")), Tensor("pixels", "float32", (rows, "height"))), ())
    given = [
        {"input_ids": np.zeros(index, np.int64), "pixels": np.zeros(index % 2)} for index in range(5) if index != 3
    ]
    assert [[(0, 1, 2, 4)[row] for row in share] for share in batches(given, graph)] == found
