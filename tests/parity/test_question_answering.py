"""question-answering against transformers 4.57.3: goldens of every type with the head, and whole bundles of two."""

import base64
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import vitrify
from tests.checkpoints import make_checkpoint
from tests.goldens.make_question_answering import GOLDENS, HEAD, LEFT, TYPES, fingerprint
from tests.once import bundle_once
from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.question_answering import QuestionAnsweringPipeline
from vitrify.runtime.processing.text.tokenizer import Tokenizer

GOLDEN = json.loads(GOLDENS.read_text())["types"]
EXPORTED = ("bert", "roberta")
DECODED = 1e-6  # the same logits: rounding of the softmax
COMPUTED = 1e-4  # the runtime's logits: cpu-fp32
EXAMPLE = {"question": "Who is it?", "context": "My name is Sarah Jessica and I live in London, near the river."}
OTHER = {"question": "What is the capital of France?", "context": "Paris is the capital of France, he said."}
CPU = SimpleNamespace(provider="cpu")
MODEL = SimpleNamespace(input_names=("input_ids", "attention_mask"))


@dataclass
class GoldenBundle:
    """A bundle whose graph knows the goldens of one call by heart, and checks that it is given their tokens."""

    tokenizer: Tokenizer
    windows: list[dict]
    model: ClassVar[SimpleNamespace] = MODEL

    def run_rows(self, rows):
        return [self._run(row) for row in rows]

    def _run(self, row):
        ids, mask = row["input_ids"].tolist(), "".join(map(str, row["attention_mask"].tolist()))
        found = [window for window in self.windows if (window["input_ids"], window["attention_mask"]) == (ids, mask)]
        assert found, f"no golden has the tokens {ids}"
        return {f"{name}_logits": _floats(found[0][name]) for name in ("start", "end")}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {model_type: make_checkpoint(model_type, HEAD, root / model_type) for model_type in TYPES}


@pytest.fixture(scope="session", params=EXPORTED)
def exported(request, tmp_path_factory):
    folder = bundle_once(tmp_path_factory, request.param, HEAD)
    return request.param, vitrify.pipeline(HEAD, model=folder)


@pytest.fixture
def pipe(checkpoints):
    """A pipeline whose logits tell the tokens of every text apart."""
    rows = SimpleNamespace(
        tokenizer=Tokenizer.from_folder(checkpoints["bert"]), run_rows=_run_arithmetic, profile=CPU, model=MODEL
    )
    return QuestionAnsweringPipeline(rows, task=HEAD)


def _run_arithmetic(rows):
    keys = [np.cumsum(row["attention_mask"]) * 7 + row["input_ids"] for row in rows]
    return [
        {"start_logits": np.sin(key).astype(np.float32), "end_logits": np.cos(key).astype(np.float32)} for key in keys
    ]


@pytest.mark.parametrize("model_type", TYPES)
def test_the_checkpoint_is_the_one_that_the_goldens_were_made_from(model_type, checkpoints):
    drift = "the tiny checkpoints changed: make the goldens again (tests/goldens/make_question_answering.py)"
    assert fingerprint(checkpoints[model_type]) == pytest.approx(GOLDEN[model_type]["weights"], rel=1e-4), drift


@pytest.mark.parametrize("model_type", TYPES)
def test_answers_from_golden_logits_are_golden(model_type, checkpoints):
    sides = set()
    for call in GOLDEN[model_type]["calls"]:
        tokenizer = Tokenizer.from_folder(checkpoints[model_type])
        tokenizer.padding_side = call["padding_side"]
        answerer = QuestionAnsweringPipeline(GoldenBundle(tokenizer, call["windows"]), task=HEAD)
        sides.add(call["padding_side"])
        for golden in call["answers"]:
            given = {**call["tokenizing"], **golden["parameters"]}
            answers = answerer(question=call["question"], context=call["context"], **given)
            _assert_agree(answers, golden["answers"], tolerance=DECODED)
    assert sides == ({"left", "right"} if model_type in LEFT else {"right"})


def test_goldens_have_what_they_are_to_test():
    calls = [call for row in GOLDEN.values() for call in row["calls"]]
    answers = [answer for call in calls for golden in call["answers"] for answer in _listed(golden["answers"])]
    assert any(len(call["windows"]) > 2 for call in calls)
    assert any("0" in window["attention_mask"] for call in calls for window in call["windows"])
    assert any(answer["answer"] == "" and answer["score"] > 0 for answer in answers)  # impossible, and among the best
    assert any(not answer["answer"].isascii() for answer in answers)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_bundle_answers_as_the_reference(exported, batch_size):
    model_type, answerer = exported
    for call in GOLDEN[model_type]["calls"]:
        if call["padding_side"] == "right":
            for golden in call["answers"]:
                given = {**call["tokenizing"], **golden["parameters"], "batch_size": batch_size}
                answers = answerer(question=call["question"], context=call["context"], **given)
                _assert_agree(answers, golden["answers"], tolerance=COMPUTED)


def test_a_bundle_reads_a_text_longer_than_the_model_in_windows(exported):
    _, answerer = exported
    answers = answerer(question="Where?", context="One day he went to Tokyo. " * 60, top_k=3)
    assert len(answers) == 3
    assert json.loads(json.dumps(answers)) == answers


def _assert_agree(found, golden, *, tolerance):
    """Assert equal answers in one order, but for answers whose golden scores are too close to tell which comes first.

    4.57.3 fills up with spans of score 0, backwards or outside the context, where the context holds fewer than top_k
    answers; those are left out, so a list may have become a single answer.
    """
    expected = [answer for answer in _listed(golden) if answer["score"] > 0]
    found_ones = [answer for answer in _listed(found) if answer["score"] > 0]
    if len(expected) == len(_listed(golden)):
        assert isinstance(found, dict) == isinstance(golden, dict)
    assert [answer["score"] for answer in found_ones] == pytest.approx(
        [answer["score"] for answer in expected], abs=tolerance
    )
    for answer, reference in zip(found_ones, expected, strict=True):
        assert [type(value) for value in answer.values()] == [float, int, int, str]
        close = [other for other in expected if abs(other["score"] - reference["score"]) <= 2 * tolerance]
        if reference is not expected[-1] or len(close) == 1:  # the last place may go to one that was cut off
            assert _span(answer) in [_span(other) for other in close]


def _span(answer):
    return answer["start"], answer["end"], answer["answer"]


def _listed(answers):
    return [answers] if isinstance(answers, dict) else answers


def _floats(text):
    return np.frombuffer(base64.b64decode(text), dtype=np.float32)


def test_every_way_to_ask_gives_the_same_answers(pipe):
    one, two = pipe(EXAMPLE), pipe(OTHER)
    assert one != two
    assert isinstance(one, dict)
    assert pipe(**EXAMPLE) == pipe(EXAMPLE["question"], EXAMPLE["context"]) == pipe([EXAMPLE]) == one
    assert pipe([EXAMPLE, OTHER]) == pipe((EXAMPLE, OTHER)) == pipe(EXAMPLE, OTHER) == [one, two]
    columns = {name: [EXAMPLE[name], OTHER[name]] for name in EXAMPLE}
    assert pipe(**columns) == pipe(columns) == pipe([EXAMPLE, OTHER], batch_size=2) == [one, two]
    squad = SimpleNamespace(question_text=EXAMPLE["question"], context_text=EXAMPLE["context"])
    assert pipe(squad) == one
    assert pipe([squad, {**OTHER, "id": "56be"}]) == [one, two]


def test_questions_share_one_context(pipe):
    questions = [EXAMPLE["question"], OTHER["question"], "Where?"]
    shared = pipe(question=questions, context=EXAMPLE["context"])
    assert shared == [pipe(question=question, context=EXAMPLE["context"]) for question in questions]


def test_nothing_asked_gives_nothing(pipe):
    assert pipe([]) == []
    assert pipe(question=[], context="text") == []


def test_an_iterable_is_answered_as_it_is_read(pipe):
    def endless():
        while True:
            yield EXAMPLE

    answers = pipe(endless())
    assert next(answers) == next(answers) == pipe(EXAMPLE)
    assert list(pipe(iter([OTHER]))) == [pipe(OTHER)]  # a list of one is unwrapped, an iterable is not


@pytest.mark.parametrize("side", ["left", "right"])
def test_answers_come_from_the_context_alone(pipe, side):
    pipe.tokenizer.padding_side = side
    answers = pipe(EXAMPLE, top_k=500, align_to_words=False, max_answer_len=4)
    assert len(answers) > 100
    for answer in answers:
        assert 0 <= answer["start"] <= answer["end"] <= len(EXAMPLE["context"])
        assert answer["answer"] == EXAMPLE["context"][answer["start"] : answer["end"]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_answer(pipe, side):
    pipe.tokenizer.padding_side = side
    plain = pipe(EXAMPLE, top_k=200, handle_impossible_answer=True)
    padded = pipe(EXAMPLE, top_k=200, handle_impossible_answer=True, padding="max_length", max_seq_len=100)
    assert [_span(answer) for answer in padded] == [_span(answer) for answer in plain]
    scores = [[answer["score"] for answer in answers] for answers in (plain, padded)]
    assert scores[0] == pytest.approx(scores[1], abs=DECODED)


def test_words_are_answered_whole_unless_asked_otherwise(pipe):
    words = set(EXAMPLE["context"].replace(",", " ,").replace(".", " .").split())
    assert {answer["answer"] for answer in pipe(EXAMPLE, top_k=50, max_answer_len=1)} <= words
    tokens = {answer["answer"] for answer in pipe(EXAMPLE, top_k=50, max_answer_len=1, align_to_words=False)}
    assert tokens - words


def test_an_impossible_answer_is_one_of_those_that_were_asked_for(pipe):
    none = {"start": 0, "end": 0, "answer": ""}
    answers = pipe(EXAMPLE, top_k=10_000, handle_impossible_answer=True)
    assert [answer for answer in answers if not answer["answer"]] == [{"score": pytest.approx(0.0, abs=1), **none}]
    assert all(answer["answer"] for answer in pipe(EXAMPLE, top_k=10_000))


def test_an_answer_is_as_impossible_as_in_the_window_that_doubts_it_least(pipe):
    lengths = []

    def level(rows):
        lengths.extend(len(row["input_ids"]) for row in rows)
        return [dict.fromkeys(("start_logits", "end_logits"), np.zeros(len(row["input_ids"]))) for row in rows]

    level_pipe = QuestionAnsweringPipeline(
        SimpleNamespace(tokenizer=pipe.tokenizer, run_rows=level, model=MODEL), task=HEAD
    )
    asked = {"max_seq_len": 24, "doc_stride": 5, "top_k": 10_000, "handle_impossible_answer": True}
    answers = level_pipe(EXAMPLE, **asked)
    score = next(answer["score"] for answer in answers if not answer["answer"])
    others = len(pipe.tokenizer.encode(EXAMPLE["question"]))  # with [CLS] in place of the second separator
    assert max(lengths) == 24 > min(lengths)
    assert score == pytest.approx(1 / (24 - others) ** 2)


def test_an_empty_or_blank_context_is_no_crash(pipe):
    nothing = {"score": 0.0, "start": 0, "end": 0, "answer": ""}  # as 4.57.3 answers
    assert pipe(question="Who?", context="  \n ") == nothing
    assert pipe(question="Who?", context=" ", top_k=3) == nothing
    assert pipe([{"question": "Who?", "context": " "}, EXAMPLE])[0] == nothing
    assert pipe([{"question": "Who?", "context": " "}] * 2) == [nothing, nothing]


def test_other_keys_of_a_row_are_ignored(pipe):
    assert pipe({**EXAMPLE, "id": 7, "title": "Sarah"}) == pipe(EXAMPLE)


def test_none_means_the_default(pipe):
    options = dict.fromkeys(("top_k", "doc_stride", "max_answer_len", "max_seq_len", "padding", "align_to_words"))
    assert pipe(EXAMPLE, **options) == pipe(EXAMPLE)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        (("text",), {}, '"question": ..., "context": ...'),
        ((), {}, "NoneType"),
        ((7,), {}, "int"),
        (({"question": "q"},), {}, "'context' must be a text, got none"),
        (({"context": "c"},), {}, "'question' must be a text, got none"),
        (({"question": "", "context": "c"},), {}, "'question' must be a text, got an empty one"),
        (({"question": "q", "context": ""},), {}, "'context' must be a text, got an empty one"),
        (({"question": "q", "context": 3},), {}, "'context' must be a text, got int"),
        (([EXAMPLE, "text"],), {}, "got str"),
        ((EXAMPLE,), {"question": "q", "context": "c"}, "not both"),
        ((), {"question": "q"}, "'context' must be a text, got none"),
        ((), {"question": "q", "context": ["a", "b"]}, "'context' must be a text, got list"),
        ((), {"question": ["p", "q", "r"], "context": ["a", "b"]}, "3 questions need one context or as many"),
        ((), {"question": ["p", "q"]}, "2 questions need one context or as many contexts, got NoneType"),
        ((EXAMPLE,), {"top_k": 0}, "top_k must be a whole number of at least 1, got 0"),
        ((EXAMPLE,), {"max_answer_len": 0}, "max_answer_len"),
        ((EXAMPLE,), {"doc_stride": -1}, "doc_stride"),
        ((EXAMPLE,), {"max_seq_len": "9"}, "max_seq_len"),
        ((EXAMPLE,), {"max_seq_len": 32, "doc_stride": 33}, "doc_stride=33 is larger than max_seq_len=32"),
        ((EXAMPLE,), {"max_seq_len": 16, "doc_stride": 8}, "shorten the question"),
        ((EXAMPLE,), {"max_seq_len": 2}, "shorten the question"),
        ((EXAMPLE,), {"topk": 2}, "unknown argument 'topk'"),
    ],
)
def test_a_wrong_call_is_told_so_in_one_line(pipe, given, options, words):
    with pytest.raises(UsageError) as raised:
        pipe(*given, **options)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_long_question_does_no_harm_where_the_context_fits(pipe):
    question = "What is the capital? " * 4
    assert pipe(question=question, context="Paris")["answer"] == "Paris"
