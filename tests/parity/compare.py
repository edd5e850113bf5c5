"""One result beside transformers': same structure, types and labels, scores nearly; and calls to compare."""

from collections.abc import Mapping
from typing import Any

import numpy as np

MASK = "[MASK]"
LONG = "The quick brown fox jumps over the lazy dog in London, and Sarah Jessica sells sea shells on the shore. " * 12
TEXTS = (
    "My name is Sarah Jessica and I live in London.",
    "a",
    "I've been waiting for a course like this my whole life!",
    "Der Fluß fließt, naïve café: 東京は日本の首都です 👩‍💻 القاهرة [SEP] unknown☃word",
    "  two  spaces,\tand a tab\n",
)
PAIR = {"text": TEXTS[0], "text_pair": TEXTS[2]}
WORDS = ["My", "name", "is", "Sarah", "Jessica", "von", "Überfluß", "in", "東京", "!"]

Case = tuple[tuple[Any, ...], dict[str, Any]]


def assert_same(result: Any, reference: Any, *, tolerance: float) -> None:
    """Fail unless `result` is `reference`: structure, order of keys, texts and whole numbers exactly, floats nearly.

    Results ranked by score may differ in order, and at the end in what they hold, where the reference's scores are at
    most two tolerances apart. numpy's floats in the reference stand for Python's.
    """
    _compare(result, reference, tolerance, "result")


def _compare(got: Any, expected: Any, tolerance: float, at: str) -> None:
    expected = expected.numpy() if hasattr(expected, "detach") else expected
    expected = expected.item() if isinstance(expected, np.generic) else expected
    assert type(got) is type(expected), f"{at}: {type(got).__name__} instead of {type(expected).__name__}"
    if isinstance(expected, np.ndarray):
        np.testing.assert_allclose(got, expected, atol=tolerance, rtol=0, err_msg=at)
    elif isinstance(expected, float):
        assert abs(got - expected) <= tolerance, f"{at}: {got} instead of {expected}"
    elif isinstance(expected, Mapping):
        _compare_dicts(got, expected, tolerance, at)
    elif isinstance(expected, (list, tuple)):
        _compare_lists(got, expected, tolerance, at)
    else:
        assert got == expected, f"{at}: {got!r} instead of {expected!r}"


def _compare_dicts(got: Any, expected: Any, tolerance: float, at: str) -> None:
    assert list(got) == list(expected), f"{at}: keys {list(got)} instead of {list(expected)}"
    if "labels" in expected and "scores" in expected:
        _compare_ranks(_labelled(got), _labelled(expected), tolerance, at)
        got, expected = ({k: v for k, v in each.items() if k not in {"labels", "scores"}} for each in (got, expected))
    for key in expected:
        _compare(got[key], expected[key], tolerance, f"{at}[{key!r}]")


def _compare_lists(got: Any, expected: Any, tolerance: float, at: str) -> None:
    assert len(got) == len(expected), f"{at}: {len(got)} instead of {len(expected)}: {got} instead of {expected}"
    if expected and all(isinstance(item, Mapping) and "score" in item and "start" not in item for item in expected):
        _compare_ranks(got, expected, tolerance, at)
        return
    for index, (one, other) in enumerate(zip(got, expected, strict=True)):
        _compare(one, other, tolerance, f"{at}[{index}]")


def _compare_ranks(got: Any, expected: Any, tolerance: float, at: str) -> None:
    """Compare the scores rank by rank, and what stands there up to ties."""
    scores = [float(item["score"]) for item in expected]
    places = {_what(item): place for place, item in enumerate(expected)}
    if len(places) < len(expected):  # the same label twice: nothing tells one from the other
        places = {}
    for rank, (one, other) in enumerate(zip(got, expected, strict=True)):
        spot = f"{at}[{rank}]"
        assert type(one) is dict, f"{spot}: {type(one).__name__} instead of dict"
        assert list(one) == list(other), f"{spot}: keys {list(one)} instead of {list(other)}"
        _compare(one["score"], other["score"], tolerance, f"{spot}['score']")
        if _what(one) != _what(other):
            place = places.get(_what(one), len(scores) - 1)
            assert abs(scores[place] - scores[rank]) <= 2 * tolerance, f"{spot}: {one} instead of {other}"
    assert not places or len({_what(item) for item in got}) == len(got), f"{at}: one of them twice: {got}"


def _labelled(result: Any) -> list[dict[str, Any]]:
    pairs = zip(result["labels"], result["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def _what(item: Any) -> tuple[Any, ...]:
    return tuple((key, type(value), value) for key, value in item.items() if key != "score")


def _calls(*inputs: Any, **options: Any) -> list[Case]:
    return [((each,), options) for each in inputs]


# Calls of each task that every model takes, with MASK for its mask token.
TEXT_CASES: Mapping[str, list[Case]] = {
    "feature-extraction": [
        *_calls(*TEXTS, [TEXTS[0]], list(TEXTS)),
        *_calls(list(TEXTS), batch_size=3),
        *_calls(LONG, truncation=True),
        *_calls(TEXTS[0], tokenize_kwargs={"truncation": True, "max_length": 5}),
        *_calls(TEXTS[0], tokenize_kwargs={"padding": "max_length", "max_length": 30}),
        *_calls(TEXTS[0], [TEXTS[0]], return_tensors=True),
    ],
    "text-classification": [
        *_calls(*TEXTS, PAIR, [TEXTS[0]], list(TEXTS), [PAIR, {"text": "a"}], [[["one", "other"]]]),
        *_calls(list(TEXTS), [*TEXTS, PAIR], batch_size=3),
        *_calls(TEXTS[0], list(TEXTS), PAIR, [PAIR], top_k=1),
        *_calls(TEXTS[0], list(TEXTS), PAIR, top_k=2),
        *_calls(TEXTS[0], [TEXTS[1]], [PAIR, TEXTS[0]], top_k=None),
        *_calls(TEXTS[0], top_k=99),
        *(
            call
            for name in ("softmax", "sigmoid", "none", "SIGMOID")
            for call in _calls(TEXTS[0], function_to_apply=name)
        ),
        *_calls(TEXTS[0], PAIR, function_to_apply="none", top_k=None),
        *_calls(LONG, [LONG, "a"], {"text": LONG, "text_pair": "short"}, truncation=True, top_k=None),
        *_calls({"text": "short", "text_pair": LONG}, truncation="only_second", max_length=20),
        *_calls(TEXTS[0], truncation=True, max_length=6, top_k=None),
        *_calls(TEXTS[0], max_length=5, top_k=None),
        *_calls(TEXTS[0], padding="max_length", max_length=40, truncation=True, top_k=None),
        *_calls(TEXTS[0], padding=True, pad_to_multiple_of=8, top_k=None),
        *_calls(TEXTS[2], add_special_tokens=False, top_k=None),
        *_calls(TEXTS[2], text_pair="and its pair", top_k=None),
        *_calls({"text": WORDS}, is_split_into_words=True, top_k=None),
        *_calls(TEXTS[2], return_token_type_ids=False, return_attention_mask=False, top_k=None),
    ],
    "token-classification": [
        *_calls(*TEXTS, [TEXTS[0]], list(TEXTS), LONG),
        *_calls(list(TEXTS), [LONG, *TEXTS], batch_size=3),
        *(
            call
            for strategy in ("none", "simple", "first", "average", "max", "SIMPLE")
            for ignored in (None, [], ["PER", "B-PER"])
            for call in _calls(
                *TEXTS, list(TEXTS), LONG, aggregation_strategy=strategy, ignore_labels=ignored, batch_size=2
            )
        ),
        *(
            call
            for strategy in ("simple", "first", "average", "max")
            for stride in (0, 5, 40)
            for call in _calls(LONG, [LONG, *TEXTS], aggregation_strategy=strategy, stride=stride)
        ),
        *_calls(LONG, stride=10),
        *_calls(LONG, stride=10, ignore_labels=[], aggregation_strategy="simple", batch_size=2),
        *(
            call
            for strategy in ("none", "simple", "first", "average", "max")
            for call in _calls(WORDS, [WORDS, ["a"]], is_split_into_words=True, aggregation_strategy=strategy)
        ),
        *_calls(WORDS, is_split_into_words=True, delimiter="", ignore_labels=[]),
        *_calls([WORDS], is_split_into_words=True, delimiter=" - ", ignore_labels=[], aggregation_strategy="simple"),
        *_calls(WORDS * 40, is_split_into_words=True, stride=8, aggregation_strategy="simple"),
    ],
    "fill-mask": [
        *_calls(f"My name is {MASK}.", f"{MASK} 東京 lives in London", [f"My {MASK} is"], MASK),
        *_calls(f"My {MASK} is {MASK}.", [f"{MASK}{MASK}"], [f"a {MASK}", f"{MASK} and {MASK}"]),
        *_calls([f"a {MASK}", f"The quick brown {MASK} jumps", f"{MASK} and {MASK}"], batch_size=3),
        *_calls(f"My name is {MASK}.", f"{MASK} or {MASK}", top_k=1),
        *_calls(f"My name is {MASK}.", top_k=20),
        *_calls(f"The {MASK} dog", f"a {MASK} or {MASK}", targets=["a", "London", "the", "a", "unseenword"]),
        *_calls(f"The {MASK} dog", targets="dog"),
        *_calls(f"The {MASK} dog", [f"The {MASK} dog", f"a {MASK}"], targets=["i", "o", "é", "東"], top_k=3),
        *_calls(f"The {MASK} dog " + LONG, tokenizer_kwargs={"truncation": True}),
        *_calls(f"The {MASK} dog", tokenizer_kwargs={"padding": "max_length", "max_length": 30}),
        *_calls(f"The {MASK} dog", tokenizer_kwargs={"add_special_tokens": False}),
    ],
    "zero-shot-classification": [
        *_calls(TEXTS[0], [TEXTS[0]], list(TEXTS), candidate_labels=["politics", "travel", "names"]),
        *_calls(list(TEXTS), candidate_labels=["politics", "travel", "names"], batch_size=3),
        *_calls(TEXTS[2], list(TEXTS), candidate_labels="school, , life ,東京", multi_label=True),
        *_calls(TEXTS[2], candidate_labels="one"),
        *_calls(TEXTS[2], candidate_labels=["same", "same", "other"]),
        *_calls(TEXTS[0], candidate_labels=("a", "b"), hypothesis_template="{}?"),
        *_calls(LONG, [LONG, "a"], candidate_labels=["politics", "travel"]),
        ((TEXTS[0], ["politics", "travel"]), {}),
        ((TEXTS[0], "politics, travel"), {"multi_label": True}),
    ],
}


def text_cases(task: str, *, mask: str = MASK) -> list[Case]:
    """Return the calls of a task, with the mask token of a tokenizer."""
    return [(_masked(args, mask), options) for args, options in TEXT_CASES[task]]


def assert_same_calls(ours: Any, theirs: Any, cases: list[Case], *, tolerance: float) -> None:
    """Fail unless both pipelines give the same in every case; the failure names the call.

    The reference runs its inputs one by one: a result must not depend on what else was in the batch.
    """
    for args, options in cases:
        alone = {name: value for name, value in options.items() if name != "batch_size"}
        try:
            assert_same(ours(*args, **options), theirs(*args, **alone), tolerance=tolerance)
        except Exception as error:
            error.add_note(f"called with {str(args)[:200]} {options}")
            raise


def _masked(value: Any, mask: str) -> Any:
    if isinstance(value, str):
        return value.replace(MASK, mask)
    return type(value)(_masked(item, mask) for item in value) if isinstance(value, (list, tuple)) else value
