"""Where the text pipelines differ from transformers' on purpose: a check for each row of deviations.toml."""

import copy
import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parity.compare import LONG, MASK, TEXTS, WORDS, assert_same
from tests.parity.text_subjects import CLASSIFY, EXTRACT, FILL, HEADS, SUBJECTS, TOKENS, TOLERANCE, ZERO_SHOT
from vitrify import pipeline
from vitrify.runtime.processing.text.entities import without_overlaps

NAMES = [f"My name {MASK} Sarah", f"{MASK} and {MASK}", f"I live in {MASK}"]


def outcome(pipe, *args, **options):
    """Return the result, a list where it is lazy, or the name of what was raised."""
    try:
        result = pipe(*args, **options)
        return list(result) if hasattr(result, "__next__") or "Iterator" in type(result).__name__ else result
    except Exception as error:  # noqa: BLE001 - which one is what is asked
        return type(error).__name__


class ByIndex:
    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return TEXTS[index]


def empty_list(text_pair):
    for task, model_type in SUBJECTS:
        ours, theirs = text_pair(task, model_type)
        options = {"candidate_labels": ["a"]} if task == ZERO_SHOT else {}
        assert outcome(theirs, [], **options) in {"IndexError", "ValueError"}
        assert ours([], **options) == []
        assert ours((), **options) == []


def tuples(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert type(theirs(("a", "b"))) is dict
    assert ours(("a", "b")) == ours(["a", "b"])
    ours, theirs = text_pair(FILL, "bert")
    assert outcome(theirs, tuple(NAMES)) == "ValueError"
    assert ours(tuple(NAMES)) == ours(NAMES)


def iterables(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert outcome(theirs, map(str, TEXTS)) == "ValueError"
    assert list(ours(map(str, TEXTS))) == ours(list(TEXTS))
    assert list(ours(dict.fromkeys(TEXTS).keys())) == ours(list(TEXTS))
    assert outcome(theirs, ByIndex()) == "ValueError"
    assert list(ours(ByIndex())) == ours(list(TEXTS))
    pairs = ({"text": text, "text_pair": other} for text, other in itertools.pairwise(TEXTS))
    assert len(list(ours(pairs, batch_size=3))) == len(TEXTS) - 1


def laziness(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    for pipe, read_by_call in ((theirs, 1), (ours, 0)):
        source = iter(TEXTS)
        lazy = pipe(text for text in source)
        assert len(TEXTS) - len(list(copy.copy(source))) == read_by_call
        assert next(iter(lazy))["label"]


def unknown_arguments(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert type(outcome(theirs, "a", topk=2)) is list
    assert outcome(ours, "a", topk=2) == "UsageError"
    ours, theirs = text_pair(ZERO_SHOT, "bart")
    assert type(outcome(theirs, "a", ["b"], multi_class=True)) is dict
    assert outcome(ours, "a", ["b"], multi_class=True) == "UsageError"


def padding(text_pair):
    ours, theirs = text_pair(EXTRACT, "bert")
    both = [TEXTS[0], "a"]
    alone = len(theirs("a")[0])
    assert len(theirs(both, batch_size=2)[1][0]) > alone
    assert_same(ours(both, batch_size=2), theirs(both), tolerance=TOLERANCE)


def several_texts_in_one(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert type(outcome(theirs, {"text": ["a", "b"]})) is dict
    assert outcome(ours, {"text": ["a", "b"]}) == "UsageError"


def classification_top_k(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert [len(theirs("a", top_k=top_k)) for top_k in (0, -1, True)] == [0, 2, 1]
    assert {outcome(ours, "a", top_k=top_k) for top_k in (0, -1, True, 1.5, "2")} == {"UsageError"}


def no_tokens(text_pair):
    ours, theirs = text_pair(CLASSIFY, "gpt2")
    assert outcome(theirs, "") == "RuntimeError"
    assert type(outcome(theirs, ["", "abc"], batch_size=2)) is list
    assert outcome(ours, "") == outcome(ours, ["", "abc"], batch_size=2) == "UsageError"


def score_type(text_pair):
    ours, theirs = text_pair(TOKENS, "bert")
    for strategy in ("none", "simple"):
        options = {"ignore_labels": [], "aggregation_strategy": strategy}
        assert type(theirs("a", **options)[0]["score"]) is np.float32
        assert type(ours("a", **options)[0]["score"]) is float


def own_index(text_pair):
    ours, theirs = text_pair(TOKENS, "bert")
    theirs.tokenizer.padding_side = "left"
    texts, options = [TEXTS[0], "a"], {"ignore_labels": [], "batch_size": 2}
    assert theirs(texts, **options)[1][0]["index"] > 1
    assert ours(texts, **options)[1][0]["index"] == 1


def own_offsets(text_pair):
    ours, theirs = text_pair(TOKENS, "bert")
    texts = ["one", "one"]
    tokens = len(ours.tokenizer("one")["input_ids"][0])
    mappings = [[(0, 1)] * tokens, [(1, 2)] * tokens]
    starts = [
        [result[0]["start"] for result in pipe(texts, offset_mapping=mappings, ignore_labels=[])]
        for pipe in (theirs, ours)
    ]
    assert starts == [[0, 0], [0, 1]]


def words_when_made(text_pair):
    ours, theirs = text_pair(TOKENS, "bert", is_split_into_words=True, delimiter="--")
    assert outcome(theirs, [WORDS]) == "ValueError"
    plain, reference = text_pair(TOKENS, "bert")
    expected = reference([WORDS], is_split_into_words=True, delimiter="--")
    assert_same(ours([WORDS]), expected, tolerance=TOLERANCE)
    assert_same(plain([WORDS], is_split_into_words=True, delimiter="--"), expected, tolerance=TOLERANCE)


def words_from_generator(text_pair):
    ours, theirs = text_pair(TOKENS, "bert")
    assert outcome(theirs, (words for words in [WORDS]), is_split_into_words=True) == []
    assert outcome(ours, (words for words in [WORDS]), is_split_into_words=True) == ours(
        [WORDS], is_split_into_words=True
    )


def stride_without_aggregation(text_pair):
    ours, theirs = text_pair(TOKENS, "bert", stride=3)
    assert type(outcome(theirs, LONG, aggregation_strategy="none")) is list
    assert outcome(ours, LONG, aggregation_strategy="none") == "UsageError"


def empty_first_entity(text_pair):
    _, theirs = text_pair(TOKENS, "bert")
    entities = [{"start": 0, "end": 0, "score": 0.5}, {"start": 0, "end": 3, "score": 0.5}]
    assert theirs.aggregate_overlapping_entities(entities) == [entities[0], *entities]
    assert without_overlaps(entities) == entities


def fill_top_k(text_pair):
    ours, theirs = text_pair(FILL, "bert")
    assert theirs(MASK, top_k=0) == []
    assert outcome(ours, MASK, top_k=0) == "UsageError"


def overflow(text_pair):
    ours, theirs = text_pair(ZERO_SHOT, "bart")
    logits = np.array([[0, 0, 200], [0, 0, 100]], dtype=np.float32)
    parts = [
        {"candidate_label": label, "sequence": "s", "logits": torch.tensor(row[None])}
        for label, row in zip("ab", logits, strict=True)
    ]
    with np.errstate(all="ignore"):
        assert np.isnan(theirs.postprocess(parts)["scores"]).any()
    pieces = list(ours.pieces("s", ours.options.updated(ZERO_SHOT, {"candidate_labels": ["a", "b"]})))
    for multi_label in (False, True):
        parameters = ours.options.updated(ZERO_SHOT, {"candidate_labels": ["a", "b"], "multi_label": multi_label})
        result = ours.result(pieces, [{"logits": row} for row in logits], parameters)
        assert np.isfinite(result["scores"]).all()
        assert sum(result["scores"]) == pytest.approx(2.0 if multi_label else 1.0)


def label_types(text_pair):
    ours, theirs = text_pair(ZERO_SHOT, "bart")
    assert set(theirs("a", [1, 2])["labels"]) == {1, 2}
    assert type(outcome(theirs, "a", ["b"], multi_label="no")) is dict
    assert outcome(ours, "a", [1, 2]) == outcome(ours, "a", ["b"], multi_label="no") == "UsageError"


def tensors(text_pair):
    ours, theirs = text_pair(EXTRACT, "bert")
    expected, found = theirs("a", return_tensors=True), ours("a", return_tensors=True)
    assert (type(expected), type(found)) == (torch.Tensor, np.ndarray)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def device_and_dtype(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    assert (theirs.device, theirs.dtype) == (torch.device("cpu"), torch.float32)
    assert (ours.device, ours.dtype) == ("cpu", "float32")
    assert (ours.device.type, ours.device.index) == (theirs.device.type, theirs.device.index)


def tokenizer_objects(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    given = pipeline(CLASSIFY, ours.bundle, tokenizer=theirs.tokenizer)
    assert given.tokenizer is not theirs.tokenizer
    assert_same(given(list(TEXTS)), theirs(list(TEXTS)), tolerance=TOLERANCE)


DEVIATIONS = {
    "pipeline.empty-list": empty_list,
    "pipeline.tuple": tuples,
    "pipeline.iterables": iterables,
    "pipeline.laziness": laziness,
    "pipeline.unknown-arguments": unknown_arguments,
    "pipeline.tensors": tensors,
    "pipeline.device-and-dtype": device_and_dtype,
    "pipeline.tokenizer-objects": tokenizer_objects,
    "feature-extraction.padding": padding,
    "text-classification.several-texts-in-one": several_texts_in_one,
    "text-classification.top-k-range": classification_top_k,
    "text-classification.no-tokens": no_tokens,
    "token-classification.score-type": score_type,
    "token-classification.index": own_index,
    "token-classification.offset-mapping": own_offsets,
    "token-classification.words-when-made": words_when_made,
    "token-classification.words-from-generator": words_from_generator,
    "token-classification.stride-without-aggregation": stride_without_aggregation,
    "token-classification.empty-first-entity": empty_first_entity,
    "fill-mask.top-k-range": fill_top_k,
    "zero-shot-classification.overflow": overflow,
    "zero-shot-classification.label-types": label_types,
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_deviations_are_real(text_pair, name):
    DEVIATIONS[name](text_pair)


def test_every_deviation_of_text_tasks_has_a_reason_and_a_check():
    tables = tomllib.loads(Path(__file__).with_name("deviations.toml").read_text())
    rows = {f"{task}.{name}": row for task in ("pipeline", *HEADS) for name, row in tables.get(task, {}).items()}
    assert set(rows) == set(DEVIATIONS)
    assert all(set(row) == {"reference", "vitrify", "reason"} for row in rows.values())
