"""The text pipelines beside transformers.pipeline: same inputs and arguments, same results, in the same shape."""

import copy
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from transformers.pipelines.pt_utils import KeyDataset, KeyPairDataset

from tests.parity.compare import LONG, MASK, PAIR, TEXTS, WORDS, assert_same, assert_same_calls, text_cases
from tests.parity.text_subjects import CLASSIFY, EXTRACT, FILL, SUBJECTS, TOKENS, TOLERANCE, ZERO_SHOT
from vitrify import pipeline
from vitrify.runtime.errors import UsageError

NAMES = [f"My name {MASK} Sarah", f"{MASK} and {MASK}", f"I live in {MASK}"]


def cases_for(task, theirs):
    return text_cases(task, mask=theirs.tokenizer.mask_token or MASK)


@pytest.mark.parametrize(("task", "model_type"), SUBJECTS)
def test_same_as_transformers(text_pair, task, model_type):
    ours, theirs = text_pair(task, model_type)
    assert_same_calls(ours, theirs, cases_for(task, theirs), tolerance=TOLERANCE)


@pytest.mark.parametrize(("task", "model_type"), SUBJECTS[:-1])
def test_results_are_json(text_pair, task, model_type):
    ours, theirs = text_pair(task, model_type)
    for args, options in cases_for(task, theirs)[:12]:
        assert json.loads(json.dumps(result := ours(*args, **options))) == result


def test_scores_depend_on_the_text(text_pair):
    ours, _ = text_pair(CLASSIFY, "bert")
    scores = [result["score"] for result in ours(list(TEXTS), function_to_apply="none")]
    assert np.ptp(scores) > 100 * TOLERANCE


@pytest.mark.parametrize("top_k", [None, 1, 2])
@pytest.mark.parametrize("call", [{}, {"top_k": 1}, {"top_k": None}])
@pytest.mark.parametrize("inputs", [TEXTS[0], [TEXTS[0]], list(TEXTS), PAIR, [PAIR, "a"]], ids=str)
def test_nesting_by_where_top_k_was_given(text_pair, top_k, call, inputs):
    ours, theirs = text_pair(CLASSIFY, "bert", top_k=top_k)
    assert_same(ours(inputs, **call), theirs(inputs, **call), tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("task", "model_type", "made", "call"),
    [
        (CLASSIFY, "bert", {"function_to_apply": "sigmoid", "truncation": True}, {"function_to_apply": None}),
        (CLASSIFY, "bert", {"max_length": 5, "truncation": True}, {"max_length": 7}),
        (TOKENS, "bert", {"aggregation_strategy": "simple", "stride": 3}, {}),
        (TOKENS, "bert", {"aggregation_strategy": "simple", "ignore_labels": []}, {"ignore_labels": None}),
        (TOKENS, "roberta", {"aggregation_strategy": "simple"}, {"aggregation_strategy": "max"}),
        (FILL, "bert", {"top_k": 3}, {}),
        (FILL, "bert", {"top_k": 3, "targets": ["a", "i", "o"]}, {"top_k": 2, "targets": None}),
        (FILL, "roberta", {"tokenizer_kwargs": {"truncation": True}}, {"tokenizer_kwargs": None}),
        (ZERO_SHOT, "bart", {"candidate_labels": "a, b"}, {}),
        (ZERO_SHOT, "bart", {"candidate_labels": ["a", "b"], "multi_label": True}, {"multi_label": False}),
        (ZERO_SHOT, "bart", {"candidate_labels": ["a", "b"]}, {"hypothesis_template": "{} it is"}),
    ],
    ids=str,
)
def test_arguments_when_made_and_per_call(text_pair, task, model_type, made, call):
    ours, theirs = text_pair(task, model_type, **made)
    mask = theirs.tokenizer.mask_token
    texts = [f"{text} {mask}" for text in TEXTS] if task == FILL else [*TEXTS, LONG]
    if "max_length" not in made and "truncation" not in made and task == CLASSIFY:
        texts.pop()
    assert_same_calls(ours, theirs, [((texts,), call), ((texts[0],), call), ((texts,), {})], tolerance=TOLERANCE)


@pytest.mark.parametrize(
    ("task", "model_type", "options"),
    [
        (CLASSIFY, "bert", {}),
        (TOKENS, "bert", {}),
        (EXTRACT, "bert", {}),
        (FILL, "bert", {}),
        (ZERO_SHOT, "bart", {"candidate_labels": ["a", "b"]}),
    ],
)
def test_data_sets(text_pair, task, model_type, options):
    ours, theirs = text_pair(task, model_type)
    texts = KeyDataset([{"text": f"{text} {MASK}"} for text in TEXTS], "text")  # pyright: ignore[reportArgumentType]
    results, expected = ours(texts, **options), theirs(texts, **options)
    assert len(results) == len(expected) == len(TEXTS)
    assert_same(list(results), list(expected), tolerance=TOLERANCE)


def test_data_sets_of_pairs(text_pair):
    ours, theirs = text_pair(CLASSIFY, "bert")
    pairs = KeyPairDataset([{"a": TEXTS[0], "b": text} for text in TEXTS], "a", "b")
    assert_same(list(ours(pairs)), list(theirs(pairs)), tolerance=TOLERANCE)


@pytest.mark.parametrize(("task", "model_type"), [(CLASSIFY, "bert"), (TOKENS, "bert"), (EXTRACT, "bert")])
def test_generators(text_pair, task, model_type):
    ours, theirs = text_pair(task, model_type)
    assert_same(list(ours(text for text in TEXTS)), list(theirs(text for text in TEXTS)), tolerance=TOLERANCE)


def test_generators_of_tasks_that_unwrap_or_chunk(text_pair):
    ours, theirs = text_pair(FILL, "bert")
    for texts in (NAMES, NAMES[:1]):
        assert_same(list(ours(text for text in texts)), list(theirs(text for text in texts)), tolerance=TOLERANCE)
    ours, theirs = text_pair(ZERO_SHOT, "bart", candidate_labels=["a", "b"])
    assert_same(list(ours(text for text in TEXTS)), list(theirs(text for text in TEXTS)), tolerance=TOLERANCE)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification", "single_label_classification"])
def test_the_configs_problem_type_decides_the_function(text_pair, problem):
    ours, theirs = text_pair(CLASSIFY, "bert")
    ours = pipeline(CLASSIFY, with_config(ours.bundle, problem_type=problem))
    theirs.model.config.problem_type = problem
    assert_same_calls(ours, theirs, [((TEXTS[0],), {}), ((list(TEXTS),), {"top_k": None})], tolerance=TOLERANCE)


@pytest.mark.parametrize("names", [("ENTAILMENT", "neutral", "no"), ("x", "entails", "y"), ("LABEL_0", "b", "c")])
@pytest.mark.parametrize("multi_label", [False, True])
def test_the_entailing_label_is_found_by_name(text_pair, names, multi_label):
    ours, theirs = text_pair(ZERO_SHOT, "bart")
    ids = {name: index for index, name in enumerate(names)}
    ours, theirs.model.config.label2id = pipeline(ZERO_SHOT, with_config(ours.bundle, label2id=ids)), ids
    options = {"candidate_labels": ["one", "two", "three"], "multi_label": multi_label}
    assert_same_calls(ours, theirs, [((list(TEXTS),), options)], tolerance=TOLERANCE)


def with_config(bundle, **values):
    other = copy.copy(bundle)
    other.__dict__["config"] = {**bundle.config, **values}
    return other


def test_a_hypothesis_too_long_to_cut_the_text_for_runs_whole(text_pair):
    ours, theirs = text_pair(ZERO_SHOT, "bart")
    longest = ours.tokenizer.model_max_length
    theirs.tokenizer.model_max_length = ours.tokenizer.model_max_length = 12
    try:
        label = "a label that is longer than twelve tokens"
        case = ((TEXTS[0],), {"candidate_labels": [label, "b"]})
        assert_same_calls(ours, theirs, [case], tolerance=TOLERANCE)
    finally:
        ours.tokenizer.model_max_length = longest


def test_given_offsets_take_the_place_of_the_tokenizers(text_pair):
    ours, theirs = text_pair(TOKENS, "bert")
    tokens = len(ours.tokenizer("My name")["input_ids"][0])
    offsets = [(min(index, 6), min(index + 1, 7)) for index in range(tokens)]
    for strategy in ("none", "simple", "first"):
        options = {"offset_mapping": offsets, "aggregation_strategy": strategy, "ignore_labels": []}
        assert_same(ours("My name", **options), theirs("My name", **options), tolerance=TOLERANCE)


def test_targets_outside_the_vocabulary_are_logged(text_pair, caplog):
    ours, _ = text_pair(FILL, "bert")
    with caplog.at_level(logging.WARNING, "vitrify"):
        ours(f"a {MASK}", targets=["unseenword", "a"])
    assert "'unseenword' is not one token" in caplog.text
    assert "'a'" not in caplog.text


@pytest.mark.parametrize(
    ("task", "model_type", "args", "options", "words"),
    [
        (CLASSIFY, "bert", (None,), {}, "got NoneType"),
        (CLASSIFY, "bert", ([None],), {}, "got NoneType"),
        (CLASSIFY, "bert", (b"x",), {}, "got bytes"),
        (CLASSIFY, "bert", ([["a", "b"]],), {}, '"text_pair"'),
        (CLASSIFY, "bert", ({"txt": "a"},), {}, "'txt'"),
        (CLASSIFY, "bert", ("a", 3), {}, "by position"),
        (CLASSIFY, "bert", (LONG,), {}, "truncation=True"),
        (CLASSIFY, "bert", ("a",), {"truncation": "sometimes"}, "longest_first"),
        (CLASSIFY, "bert", ("a",), {"function_to_apply": "bogus"}, "'softmax'"),
        (CLASSIFY, "bert", ("a",), {"return_all_scores": True}, "top_k"),
        (CLASSIFY, "bert", ("a",), {"batch_size": 0}, "batch_size"),
        (TOKENS, "bert", ("a",), {"aggregation_strategy": "most"}, "'average'"),
        (TOKENS, "bert", ("a",), {"stride": 128}, "less than 128"),
        (TOKENS, "bert", (LONG,), {"stride": 127}, "smaller stride"),
        (TOKENS, "bert", ("a",), {"stride": -1}, "stride=-1"),
        (TOKENS, "bert", ("a",), {"stride": 2, "aggregation_strategy": "none"}, "'simple'"),
        (TOKENS, "bert", ("a",), {"stride": 2, "offset_mapping": [(0, 1)]}, "offset_mapping"),
        (TOKENS, "bert", ("a",), {"offset_mapping": [(0, 1)]}, "1 places for 3 tokens"),
        (TOKENS, "bert", (["a", "b"],), {"offset_mapping": [(0, 1)]}, "1 texts"),
        (TOKENS, "bert", ("a",), {"ignore_labels": "O"}, "ignore_labels"),
        (TOKENS, "bert", ("a b",), {"is_split_into_words": True}, "list of words"),
        (TOKENS, "bert", (WORDS,), {"is_split_into_words": "yes"}, "True or False"),
        (TOKENS, "bert", (WORDS,), {"is_split_into_words": True, "delimiter": 3}, "delimiter"),
        (TOKENS, "bert", ([WORDS],), {}, "got list"),
        (FILL, "bert", ("a",), {}, "[MASK]"),
        (FILL, "bert", (MASK,), {"top_k": 10**6}, "at most"),
        (FILL, "bert", (MASK,), {"targets": []}, "at least one"),
        (FILL, "bert", (MASK,), {"targets": [""]}, "at least one"),
        (FILL, "bert", (MASK,), {"targets": [3]}, "list of texts"),
        (FILL, "bert", (MASK,), {"tokenizer_kwargs": {"foo": 1}}, "truncation"),
        (FILL, "bert", (MASK,), {"tokenizer_kwargs": "no"}, "dict"),
        (FILL, "bert", (LONG + MASK,), {"tokenizer_kwargs": {"truncation": True}}, "no mask"),
        (ZERO_SHOT, "bart", ("a",), {}, "candidate_labels"),
        (ZERO_SHOT, "bart", ("a", []), {}, "at least one"),
        (ZERO_SHOT, "bart", ("a", " , "), {}, "at least one"),
        (ZERO_SHOT, "bart", ("", ["a"]), {}, "not empty"),
        (ZERO_SHOT, "bart", ("a", ["b"]), {"candidate_labels": ["b"]}, "twice"),
        (ZERO_SHOT, "bart", ("a", ["b"], "{}"), {}, "by position"),
        (ZERO_SHOT, "bart", ("a", ["b"]), {"sequences": "a"}, "twice"),
        (ZERO_SHOT, "bart", ("a", ["b"]), {"hypothesis_template": "no braces"}, "no braces"),
        (ZERO_SHOT, "bart", ("a", ["b"]), {"hypothesis_template": "{foo}"}, "{foo}"),
        (ZERO_SHOT, "bart", ("a", ["b"]), {"hypothesis_template": 3}, "got 3"),
    ],
    ids=str,
)
def test_bad_values_are_refused_in_one_sentence(text_pair, task, model_type, args, options, words):
    ours, _ = text_pair(task, model_type)
    with pytest.raises(UsageError) as refused:
        ours(*args, **options)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_fill_mask_needs_a_mask_token(text_pair):
    ours, _ = text_pair(FILL, "bert")
    tokenizer = copy.copy(ours.tokenizer)
    tokenizer.special_tokens = {k: v for k, v in tokenizer.special_tokens.items() if k != "mask_token"}
    with pytest.raises(UsageError, match="mask token"):
        pipeline(FILL, ours.bundle, tokenizer=tokenizer)


def test_one_pipeline_serves_many_threads(text_pair):
    ours, _ = text_pair(TOKENS, "bert")
    calls = [
        (args, options)
        for args in ((TEXTS[0],), (list(TEXTS),), (LONG,))
        for options in ({}, {"aggregation_strategy": "max", "batch_size": 2}, {"stride": 9})
    ]
    expected = [ours(*args, **options) for args, options in calls]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda call: ours(*call[0], **call[1]), calls * 4))
    assert_same(found, expected * 4, tolerance=TOLERANCE)
