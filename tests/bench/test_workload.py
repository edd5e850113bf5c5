import dataclasses

import numpy as np
import pytest

from vitrify.bench.workload import workload
from vitrify.runtime.bundle.manifest import Bundle, Provenance
from vitrify.runtime.errors import UsageError
from vitrify.runtime.graphs.signature import Axis, Graph, Tensor

TEXT = Graph(
    (
        Tensor("input_ids", "int64", ("batch", "sequence")),
        Tensor("attention_mask", "int64", ("batch", "sequence")),
        Tensor("position_ids", "int64", ("batch", "sequence")),
        Tensor("token_type_ids", "int64", ("batch", "sequence")),
    ),
    (),
)
PICTURE = Graph((Tensor("pixel_values", "float32", ("batch", 3, 8, 8)),), ())
STEP = Graph(
    (*TEXT.inputs[:2], Tensor("past_key_values.0.key", "float32", ("batch", 2, "past", 4))),
    (),
)


def bundle(graph, family="encoder", **axes):
    return Bundle("base", (), "Some", "some", family, Provenance("x"), axes, {"model": graph}, {}, {})


def arrays(tmp_path, graph, *, family="encoder", config=None, **sizes):
    work = workload(bundle(graph, family), config or {"vocab_size": 5000}, {key: (v,) for key, v in sizes.items()})
    (case,) = work.cases()
    return case, dict(np.load(work.arguments(case, tmp_path)["inputs"]))


def test_texts_are_tokens_with_masks_of_ones_and_places_in_order(tmp_path):
    case, found = arrays(tmp_path, TEXT, batch=2, sequence=7)
    assert (case.name, case.count, case.unit) == ("batch 2 x sequence 7", 2, "rows")
    assert found["input_ids"].shape == (2, 7)
    assert found["input_ids"].min() >= 1000
    assert found["input_ids"].max() < 5000
    assert (found["attention_mask"] == 1).all()
    assert (found["position_ids"] == np.arange(7)).all()
    assert (found["token_type_ids"] == 0).all()


def test_images_are_noise_of_the_graph_s_fixed_size(tmp_path):
    _, found = arrays(tmp_path, PICTURE, batch=2)
    assert found["pixel_values"].shape == (2, 3, 8, 8)
    assert 0.5 < found["pixel_values"].std() < 1.5


def test_a_decoder_reads_prompts_alone_and_counts_tokens(tmp_path):
    case, found = arrays(tmp_path, STEP, family="decoder", batch=2, sequence=5, new=3)
    assert list(found) == ["input_ids"]
    assert (case.count, case.unit) == (6, "tokens")


def test_a_decoder_that_is_in_place_alone_is_measured_too():
    alone = dataclasses.replace(bundle(STEP, "decoder"), graphs={"in_place": STEP})
    assert [tensor.name for tensor in workload(alone, {}, {}).inputs] == ["input_ids"]


def test_what_an_encoder_reads_for_a_decoder_goes_by_sequence_too():
    graph = Graph((Tensor("input_ids", "int64", ("batch", "encoder_sequence")),), ())
    both = dataclasses.replace(bundle(graph, "encoder-decoder"), graphs={"encoder_model": graph, "decoder_model": STEP})
    grid = workload(both, {"vocab_size": 100}, {"sequence": (7,), "new": (3,)}).grid
    assert grid == {"batch": (1, 8), "encoder_sequence": (7,), "new": (3,)}
    assert workload(both, {}, {}).grid["encoder_sequence"] == (16, 128)


def test_the_same_case_has_the_same_inputs(tmp_path):
    _, first = arrays(tmp_path, TEXT, batch=1, sequence=4)
    _, second = arrays(tmp_path, TEXT, batch=1, sequence=4)
    assert (first["input_ids"] == second["input_ids"]).all()


def test_usual_sizes_keep_within_the_model_and_are_the_product_of_all_axes():
    work = workload(bundle(TEXT, sequence=Axis(1, 64)), {"vocab_size": 100}, {"batch": (1, 2)})
    assert [case.name for case in work.cases()] == [
        f"batch {rows} x sequence {length}" for rows in (1, 2) for length in (16, 64)
    ]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"height": (3,)}, "no axis 'height' to be measured over .*batch, sequence"),
        ({"sequence": (65,)}, "'sequence' is 65, this model accepts 1 to 64"),
    ],
)
def test_a_size_that_the_model_does_not_take_is_told(given, said):
    with pytest.raises(UsageError, match=said):
        workload(bundle(TEXT, sequence=Axis(1, 64)), {}, given)


def test_a_vocabulary_may_be_nested(tmp_path):
    config = {"text_config": {"vocab_size": 30}}
    _, found = arrays(tmp_path, dataclasses.replace(TEXT, inputs=TEXT.inputs[:1]), config=config, batch=1, sequence=50)
    assert found["input_ids"].min() >= 15
    assert found["input_ids"].max() < 30
