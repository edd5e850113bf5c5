"""text-generation beside transformers.pipeline("text-generation"), greedy, on a tiny seeded llama that chats."""

import copy
import json
import threading
from functools import partial

import numpy as np
import pytest
import transformers
from transformers.pipelines.text_generation import ReturnType as TheirReturnType

from tests.parity.compare import assert_same
from tests.parity.generating import (
    CHAT,
    CONTEXT,
    GREEDY,
    PREFILLED,
    SCHEMA,
    TASK,
    TEXTS,
    USER,
    chatting_llama,
    generating_pair,
)
from vitrify.runtime.errors import UsageError


def look(where: str) -> str:
    """Look somewhere.

    Args:
        where: The place
    """
    return where


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return a function from arguments to (ours, transformers')."""
    return partial(generating_pair, chatting_llama(tmp_path_factory.mktemp("tiny")))


def same(pipes, *args, **options):
    """Compare one call; return our result, None where both refuse it."""
    ours, theirs = pipes
    alone = {name: value for name, value in options.items() if name != "batch_size"}
    try:
        expected = theirs(*copy.deepcopy(args), **alone)
    except ValueError:
        with pytest.raises(UsageError):
            ours(*args, **options)
        return None
    result = ours(*copy.deepcopy(args), **options)
    assert_same(result, expected, tolerance=1e-4)
    return result


INPUTS = {
    "text": TEXTS[0],
    "texts": TEXTS,
    "one in a list": TEXTS[:1],
    "tuple of texts": list(TEXTS[:2]),
    "empty": "",
    "chat": CHAT,
    "chat as a tuple": tuple(CHAT),
    "chats": [CHAT, [USER], PREFILLED],
    "one chat in a list": [CHAT],
    "chats as tuples": [tuple(CHAT), (USER,)],
    "prefilled": PREFILLED,
}
OPTIONS = {
    "nothing": {},
    "new text": {"return_full_text": False},
    "full text": {"return_full_text": True},
    "ids": {"return_tensors": True},
    "text asked for": {"return_text": True},
    "special tokens": {"skip_special_tokens": False},
    "clean up": {"clean_up_tokenization_spaces": True},
    "prefix": {"prefix": "The prefix. "},
    "no special tokens added": {"add_special_tokens": False},
    "hole": {"handle_long_generation": "hole"},
    "no continuing": {"continue_final_message": False},
    "tools": {"tools": [look, SCHEMA]},
    "documents": {"documents": [{"title": "T", "text": "One."}]},
    "shorter": {"max_new_tokens": 1},
    "truncated": {"truncation": True, "max_length": 12, "max_new_tokens": None},
    "by encode arguments": {"tokenizer_encode_kwargs": {"truncation": True, "max_length": 5}},
    "by length": {"max_length": 40, "max_new_tokens": None},
    "by a greater length": {"max_length": 80, "max_new_tokens": None},
    "penalty": {"repetition_penalty": 1.5},
    "config": {"generation_config": transformers.GenerationConfig(max_new_tokens=3, do_sample=False)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS)
def test_same_as_transformers(pair, inputs, options):
    given = options if "generation_config" in options else {**GREEDY, **options}
    result = same(pair(), inputs, **given)
    assert json.loads(json.dumps(result)) == result
    assert result or inputs is not INPUTS["text"]


TEMPLATE = {
    "start_anchor": "<|im_start|>assistant",
    "defaults": {"role": "assistant"},
    "fields": {"thinking": {"open": "a", "close": "e"}, "content": {"close": "<|im_end|>"}},
}


@pytest.mark.parametrize(
    "options",
    [{}, {"return_full_text": False}, {"tools": [look]}, {"skip_special_tokens": True}],
    ids=["", "answers only", "tools", "no special tokens"],
)
@pytest.mark.parametrize(
    "inputs", [TEXTS[0], CHAT, [CHAT, [USER]], PREFILLED], ids=["text", "chat", "chats", "prefilled"]
)
def test_a_response_template_takes_answers_apart(pair, inputs, options):
    pipes = pair()
    for pipe in pipes:
        pipe.tokenizer.response_template = TEMPLATE
    same(pipes, inputs, **{**GREEDY, "max_new_tokens": 16, **options})


def test_an_answer_that_is_taken_apart_has_its_fields(pair):
    ours, _ = pair()
    plain = ours(CHAT, skip_special_tokens=False, **GREEDY)[0]["generated_text"][-1]
    letter = plain["content"].strip()[1]
    ours.tokenizer.response_template = {**TEMPLATE, "fields": {"rest": {"open": letter}, "content": {}}}
    message = ours(CHAT, **GREEDY)[0]["generated_text"][-1]
    assert message["role"] == "assistant"
    assert message["rest"] == plain["content"].split(letter, 1)[1].strip()


def test_the_input_has_the_name_that_transformers_gives_it(pair):
    ours, theirs = pair()
    assert ours(text_inputs=TEXTS, **GREEDY) == ours(TEXTS, **GREEDY)
    assert_same(ours(text_inputs=CHAT, **GREEDY), theirs(text_inputs=CHAT, **GREEDY), tolerance=0)
    with pytest.raises(UsageError, match="got its input twice: by position and as text_inputs="):
        ours("a", text_inputs="b")
    with pytest.raises(UsageError, match="expects a text or a chat"):
        ours()


RULES = {
    "eos_token_id": [*range(3, 200)],
    "suppress_tokens": [*range(3, 200)],
    "forced_eos_token_id": 40,
    "min_new_tokens": 3,
}


@pytest.mark.parametrize("place", ["call", "init", "call over init"])
@pytest.mark.parametrize("name", RULES)
def test_none_takes_back_what_the_model_says(pair, name, place):
    says, options = {"do_sample": False, "max_new_tokens": 6, name: RULES[name]}, {name: None}
    if name == "min_new_tokens":
        says["eos_token_id"] = RULES["eos_token_id"]
    made = {"call": {}, "init": options, "call over init": {name: RULES[name]}}[place]
    pipes = pair(says=says, **made)
    result = same(pipes, TEXTS[0], **({} if place == "init" else options))
    assert result != pair(says=says)[0](TEXTS[0])


@pytest.mark.parametrize("return_type", list(TheirReturnType))
@pytest.mark.parametrize("inputs", [TEXTS[0], CHAT], ids=["text", "chat"])
def test_return_types(pair, inputs, return_type):
    ours, theirs = pair()
    expected = theirs(inputs, return_type=return_type, **GREEDY)
    for wish in (return_type, return_type.name.lower(), return_type.value):
        assert_same(ours(inputs, return_type=wish, **GREEDY), expected, tolerance=0)


def test_answers_depend_on_the_prompt_and_on_the_template(pair):
    ours, _ = pair()
    news = [item[0]["generated_text"] for item in ours(TEXTS, return_full_text=False, **GREEDY)]
    assert len(set(news)) == len(TEXTS)
    chats = [
        ours(CHAT, return_tensors=True, tools=tools, **GREEDY)[0]["generated_token_ids"] for tools in (None, [look])
    ]
    assert ours.tokenizer.decode(chats[0]) != ours.tokenizer.decode(chats[1])
    assert "<tools>" in ours.tokenizer.decode(chats[1])


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_rows_of_a_batch_do_not_see_each_other(pair, size):
    """There is no pad token: transformers refuses such a batch, and is run text by text."""
    pipes = pair()
    assert pipes[0].tokenizer.pad_token_id is None
    same(pipes, [*TEXTS, "", TEXTS[0] * 9], batch_size=size, **GREEDY)
    assert pipes[0].bundle.batches == [size] * (6 // size) + ([6 % size] if 6 % size else [])


@pytest.mark.parametrize("inputs", [TEXTS, [CHAT, [USER]], CHAT], ids=["texts", "chats", "messages"])
def test_generators(pair, inputs):
    ours, theirs = pair()
    expected = theirs((item for item in inputs), **GREEDY)
    result = ours((item for item in inputs), **GREEDY)
    assert_same(list(result), list(expected), tolerance=0)


def test_an_empty_generator(pair):
    ours, _ = pair()
    assert list(ours(iter(()), **GREEDY)) == []
    assert ours([], **GREEDY) == []


def test_texts_and_chats_share_a_list(pair):
    ours, theirs = pair()
    mixed, options = [TEXTS[0], CHAT], {"max_new_tokens": 4, "do_sample": False}
    with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
        theirs(copy.deepcopy(mixed), **options)
    assert ours(mixed, **options) == [ours(each, **options) for each in mixed]


def test_a_chat_is_not_changed(pair):
    ours, _ = pair()
    chat = copy.deepcopy(PREFILLED)
    ours(chat, **GREEDY)
    assert chat == PREFILLED


MADE = {
    "length at init": ({"max_new_tokens": 4, "do_sample": False}, {}),
    "call over init": ({"max_new_tokens": 4, "do_sample": False}, {"max_new_tokens": 2}),
    "whole length at init": ({"max_length": 80, "do_sample": False}, {}),
    "config over init": (
        {"max_new_tokens": 4, "repetition_penalty": 3.0},
        {"generation_config": transformers.GenerationConfig(max_new_tokens=3, do_sample=False)},
    ),
    "config at init": ({"generation_config": transformers.GenerationConfig(max_new_tokens=3, do_sample=False)}, {}),
    "new text at init": ({"return_full_text": False, **GREEDY}, {}),
    "ids over new text": ({"return_full_text": False, **GREEDY}, {"return_tensors": True}),
    "text over ids": ({"return_tensors": True, **GREEDY}, {"return_full_text": True}),
    "prefix at init": ({"prefix": "So: ", **GREEDY}, {}),
    "prefix and length": ({"prefix": "So it is: ", "do_sample": False, "max_length": 80}, {}),
    "continuing at init": ({"continue_final_message": False, **GREEDY}, {}),
    "tools at init": ({"tools": [look], **GREEDY}, {}),
}


@pytest.mark.parametrize(("made", "call"), MADE.values(), ids=MADE)
@pytest.mark.parametrize("inputs", [TEXTS, CHAT, PREFILLED], ids=["texts", "chat", "prefilled"])
def test_arguments_when_made_and_per_call(pair, inputs, made, call):
    same(pair(**made), inputs, **call)


SAYS = {
    "nothing": ({}, {}),
    "a length": ({"max_new_tokens": 3, "do_sample": False}, {}),
    "whole length": ({"max_length": 40, "do_sample": False}, {}),
    "whole length, call": ({"max_length": 40, "do_sample": False}, {"max_new_tokens": 2}),
    "temperature": ({"temperature": 0.3, "max_new_tokens": 2}, {"do_sample": False}),
    "greedy by the call": ({"do_sample": True, "top_k": 3, "max_new_tokens": 2}, {"do_sample": False}),
    "none by the call": ({"do_sample": False}, {"max_new_tokens": None}),
}


@pytest.mark.parametrize(("says", "call"), SAYS.values(), ids=SAYS)
def test_whose_argument_wins(pair, says, call):
    """What generation is asked for, field by field, as transformers works it out."""
    ours, theirs = pair(says=says)
    asked = ours.arguments(ours.options.updated(TASK, call))
    reference = theirs._get_set_generation_params(theirs._prepare_generate_kwargs(dict(call)))
    del reference["transformers_version"]
    assert asked == {name: value for name, value in reference.items() if value is not None or name in call}
    if not asked.get("do_sample"):
        same((ours, theirs), TEXTS, **call)


def test_the_pipelines_defaults(pair):
    ours, _ = pair()
    asked = ours.arguments(ours.options)
    assert {name: asked[name] for name in ours.defaults} == {
        "max_new_tokens": 256,
        "do_sample": True,
        "temperature": 0.7,
    }
    assert "temperature" not in ours.arguments(ours.options.updated(TASK, {"do_sample": False}))
    assert ours.arguments(ours.options.updated(TASK, {"temperature": 0.1}))["temperature"] == 0.1


@pytest.mark.parametrize("stop", ["e", ["q", "a"], "\u2603 never comes"], ids=str)
def test_stop_sequences(pair, stop):
    ours, _ = same_stop = pair()
    result = same(same_stop, TEXTS, stop_sequence=stop, do_sample=False, max_new_tokens=20)
    assert ours.bundle.given[0]["stop_strings"] == ([stop] if isinstance(stop, str) else stop)
    assert len(result) == len(TEXTS)


def test_several_sequences(pair):
    result = same(pair(), [*TEXTS, CHAT][:4], num_return_sequences=2, num_beams=2, **GREEDY)
    assert [len(item) for item in result] == [2] * 4


def test_scores(pair):
    pipes = pair()
    wanted = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    result = same(pipes, TEXTS[:2], **wanted, **GREEDY)
    assert np.shape(result[0][0]["scores"]) == (6, len(pipes[0].tokenizer))
    assert "scores" not in pipes[0](TEXTS[0], output_scores=True, **GREEDY)[0]


def test_a_hole_keeps_the_end_of_a_long_prompt(pair):
    pipes = pair()
    result = same(pipes, TEXTS[0] * 300, handle_long_generation="hole", return_full_text=False, **GREEDY)
    assert result[0]["generated_text"]
    with pytest.raises(UsageError, match="leaves no room"):
        pipes[0]("a", handle_long_generation="hole", max_new_tokens=CONTEXT, do_sample=False)


def test_template_variables_and_named_templates(pair):
    pipes = pair()
    for more in ({"enable_thinking": False}, {"chat_template": "{{ messages[0].content }}"}, {"truncation": True}):
        same(pipes, CHAT, tokenizer_encode_kwargs=more, return_tensors=True, **GREEDY)


def test_content_in_blocks_goes_on(pair):
    ours, _ = pair()
    blocks = [{"type": "text", "text": "It "}, {"type": "text", "text": "is "}]
    template = "{% for m in messages %}{% for b in m.content %}{{ b.text }}{% endfor %}{% endfor %}"
    chat = [{"role": "assistant", "content": blocks}]
    result = ours(chat, tokenizer_encode_kwargs={"chat_template": template}, **GREEDY)[0]["generated_text"]
    assert result[0]["content"][0] == blocks[0]
    assert result[0]["content"][1]["text"].startswith("It is "[3:])
    assert len(result[0]["content"][1]["text"]) > len("is ")


def test_from_several_threads(pair):
    ours, theirs = pair()
    expected = [theirs(text, **GREEDY) for text in TEXTS]
    found = {}
    threads = [
        threading.Thread(target=lambda i=i, text=text: found.update({i: ours(text, **GREEDY)}))
        for i, text in enumerate(TEXTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(TEXTS))] == expected
