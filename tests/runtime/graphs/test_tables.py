"""The tables of families and heads: what extends them has the same names, and what they name is there."""

import importlib

import pytest

from vitrify.export.checkpoint.heads import CLASSES
from vitrify.export.families import ROWS, export_family
from vitrify.runtime.bundle.onnx_heads import TOLD
from vitrify.runtime.errors import IntegrityError
from vitrify.runtime.graphs.families import FAMILIES, find_family
from vitrify.runtime.graphs.heads import HEADS
from vitrify.runtime.tasks import TASKS


def test_heads_are_extended_by_their_names():
    assert set(HEADS) == set(CLASSES) == set(TOLD)
    assert {head.family for head in HEADS.values()} == set(FAMILIES)
    assert {name for task in TASKS for name in task.heads} == set(HEADS)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_exported_by_its_name(name):
    exported = export_family(name)
    assert (set(ROWS), exported.name) == (set(FAMILIES), name)
    assert set(FAMILIES[name].graph_sets[0]) <= set(exported.graphs)


@pytest.mark.parametrize("name", [name for name, row in FAMILIES.items() if row.opens])
def test_what_opens_a_decoder_is_there(name):
    module, function = str(FAMILIES[name].opens).split(":")
    assert callable(getattr(importlib.import_module(f"vitrify.runtime.{module}"), function))


def test_the_first_graph_of_what_is_there_reads_what_a_caller_gives():
    assert FAMILIES["decoder"].entry(["model", "in_place"]) == "in_place"
    assert FAMILIES["decoder"].entry(["model"]) == "model"
    assert FAMILIES["encoder-decoder"].entry(["decoder_model_merged", "encoder_model"]) == "encoder_model"


def test_a_family_that_there_is_not():
    with pytest.raises(IntegrityError, match="unknown family 'jury'"):
        find_family("jury")
