"""A changed checkpoint answers as transformers does, or is refused in a line: what is refused wrongly only shrinks."""

import tomllib

import pytest

from tests.mutations import Mutation
from tests.parity.mutated_checkpoints import CHECKPOINTS, KINDS, SEEDS, TABLE, WRONGLY, names, outcome_of, subject_of

LISTED = tomllib.loads(TABLE.read_text(encoding="utf-8"))
AGAIN = "python -m tests.parity.mutated_checkpoints"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


def test_the_table_is_of_these_seeds():
    assert set(LISTED["counts"]) == set(KINDS)
    assert sum(LISTED["counts"].values()) == len(SEEDS)
    assert LISTED["counts"][WRONGLY] == len(LISTED[WRONGLY])


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_changed_checkpoint_answers_or_is_refused_in_a_line(place, seed):
    found = outcome_of(seed, subject_of(seed, place / str(seed % len(CHECKPOINTS))))
    print(f"seed {seed}: {found}")
    if str(seed) in LISTED[WRONGLY]:
        assert found.kind == WRONGLY, f"seed {seed} is no longer refused wrongly: run {AGAIN}"
    else:
        assert found.kind != WRONGLY, f"{found.words}: {found.said}"


@pytest.mark.parametrize(
    ("place", "value", "said", "named"),
    [
        (("size",), -1, "size is -1", True),
        (("size",), -1, "size is wrong", False),
        (("size",), None, "size is None", True),
        (("size",), "dropped", "size is missing", True),
        (("size",), "x\ny", "size is 'x\\ny'", True),
        (("labels", "0"), [None], "labels.0 is [None]", True),
        (("labels", "0"), [None], "0 is [None]", False),
        ((), None, "config.json is not JSON", True),
        ((), None, "it is not JSON", False),
    ],
)
def test_a_sentence_names_the_field_and_its_value(place, value, said, named):
    assert names(Mutation("config.json", "", b"", place=place, value=value), said) is named
