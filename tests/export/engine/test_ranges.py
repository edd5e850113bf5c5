"""Ranges of named axes onto a graph's inputs: what TensorRT would take without a word is refused here."""

import pytest

from vitrify.export.engine.ranges import engine_shapes, override
from vitrify.export.families import decoder, encoder_decoder
from vitrify.profiles import AXES, Profile, Range, Tolerance
from vitrify.runtime.errors import UsageError
from vitrify.runtime.graphs.signature import Axis, Tensor, dynamic_axes

IDS = Tensor("ids", "int64", ("batch", "sequence"))
MASK = Tensor("mask", "int64", ("batch", "total"))
KEY = Tensor("key", "float16", ("batch", 2, "past", 4))
PICTURE = Tensor("picture", "float32", ("batch", 3, 224, 224))
DECODER = (IDS, MASK, KEY)
LIMITS = {"batch": Axis(), "sequence": Axis(1), "past": Axis(0), "total": Axis(1, 64)}


def profile(**sets):
    return Profile(
        name="mine",
        description="",
        provider="tensorrt",
        precision="fp32",
        opset=20,
        ir_version=10,
        tolerance=Tolerance(1e-2),
        shape_ranges={name: {axis: Range.read(text) for axis, text in axes.items()} for name, axes in sets.items()},
    )


READ = {"batch": "1:2:4", "sequence": "1:8:16", "height": "1:2:3"}
DECODE = {"batch": "1:1:2", "sequence": "1:1:1", "past": "0:8:32"}


def test_each_input_gets_its_axes_at_the_three_sizes():
    (shapes,) = engine_shapes([IDS], LIMITS, profile(read=READ)).values()
    assert shapes == {"ids": ((1, 1), (2, 8), (4, 16))}


def test_a_graph_of_fixed_sizes_has_no_set_and_a_fixed_side_stays():
    fixed = Tensor("picture", "float32", (1, 3, 224, 224))
    assert engine_shapes([fixed], LIMITS, profile(read=READ)) == {}
    assert engine_shapes([PICTURE], LIMITS, profile(read=READ)) == {
        "read": {"picture": ((1, 3, 224, 224), (2, 3, 224, 224), (4, 3, 224, 224))}
    }


def test_sets_with_past_are_for_graphs_with_a_cache_and_the_others_for_those_without():
    both = profile(read=READ, decode=DECODE, prefill={**DECODE, "sequence": "1:16:32", "past": "0:0:0"})
    assert list(engine_shapes([IDS], LIMITS, both)) == ["read"]
    assert list(engine_shapes(DECODER, LIMITS, both)) == ["decode", "prefill"]


def test_the_length_of_a_mask_is_past_and_new_tokens_at_each_size():
    (shapes,) = engine_shapes(DECODER, LIMITS, profile(decode=DECODE)).values()
    assert shapes == {
        "ids": ((1, 1), (1, 1), (2, 1)),
        "mask": ((1, 1), (1, 9), (2, 33)),
        "key": ((1, 2, 0, 4), (1, 2, 8, 4), (2, 2, 32, 4)),
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"past": "~0:256:2047"}, ((1, 2, 0, 4), (1, 2, 63, 4), (2, 2, 63, 4))),
        ({"sequence": "~1:8:512", "past": "~0:0:2047"}, ((1, 2, 0, 4), (1, 2, 0, 4), (2, 2, 0, 4))),
    ],
)
def test_a_range_that_may_shrink_ends_where_the_model_does(change, expected):
    (shapes,) = engine_shapes(DECODER, LIMITS, profile(decode={**DECODE, **change})).values()
    assert shapes["key"] == expected
    assert shapes["mask"][2] == (2, 64)


def test_a_minimum_that_may_shrink_rises_to_the_graphs():
    (shapes,) = engine_shapes([IDS], {"sequence": Axis(4, 12)}, profile(read={**READ, "sequence": "~1:2:16"})).values()
    assert shapes["ids"] == ((1, 4), (2, 4), (4, 12))


@pytest.mark.parametrize(
    ("inputs", "sets", "words"),
    [
        ([IDS], {"read": {"batch": "1:1:1"}}, "no range for the axis 'sequence'"),
        ([IDS], {"decode": DECODE}, "no set of ranges without 'past'"),
        (DECODER, {"read": READ}, "no set of ranges with 'past'"),
        ([IDS], {"read": {**READ, "sequence": "0:8:16"}}, "'sequence' is 0:8:16, the graph accepts at least 1"),
        (DECODER, {"decode": {**DECODE, "past": "0:8:64"}}, "reach 65 tokens, the model accepts 64"),
        (DECODER, {"decode": {**DECODE, "sequence": "1:1:65", "past": "~0:0:0"}}, "accepts 64"),
    ],
)
def test_what_a_graph_cannot_take_is_refused_in_words(inputs, sets, words):
    with pytest.raises(UsageError, match=words):
        engine_shapes(inputs, LIMITS, profile(**sets))


def test_a_range_beyond_the_graphs_maximum_is_refused_and_says_what_to_write():
    with pytest.raises(UsageError, match=r"'sequence' is 1:8:16, the graph accepts 1\.\.12: write --shapes sequence="):
        engine_shapes([IDS], {"sequence": Axis(1, 12)}, profile(read=READ))
    with pytest.raises(UsageError, match=r"accepts 32\.\.40"):
        engine_shapes([IDS], {"sequence": Axis(32, 40)}, profile(read={**READ, "sequence": "~1:8:16"}))


def test_an_override_replaces_the_range_in_every_set_that_names_the_axis():
    changed = override(profile(read=READ, decode=DECODE), {"batch": Range(1, 3, 5)})
    assert {str(ranges["batch"]) for ranges in changed.shape_ranges.values()} == {"1:3:5"}
    assert str(changed.shape_ranges["read"]["sequence"]) == READ["sequence"]
    with pytest.raises(UsageError, match="has the axis 'samples'"):
        override(profile(read=READ), {"samples": Range(1, 3, 5)})


def test_profiles_know_the_axes_that_families_name():
    own = {name: {1: axis} for name, axis in encoder_decoder._SOUND.items()}
    read = ("input_ids", "token_type_ids", "pixel_values", "input_values")
    tables = [
        {name: dynamic_axes(name) for name in read},
        decoder._AXES,
        own,
        {"encoder_outputs": {1: "encoder_sequence"}},
    ]
    named = {axis for table in tables for axes in table.values() for axis in axes.values()}
    assert named - {"total"} == set(AXES)
