"""Chat templates beside transformers' apply_chat_template, and templates that mean harm."""

import dataclasses
import json
import threading
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.chat.templates import ChatTemplates, render_template

# Short templates in the styles that checkpoints have, each with what its real model is known to use of jinja.
STYLES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "templates").glob("*.jinja"))
}
BLOCKS, CHATML, GEMMA, MISTRAL, QWEN, REASONING = (
    STYLES[name] for name in ("blocks", "chatml", "gemma", "mistral", "qwen", "reasoning")
)
REFUSALS = (ValueError, TypeError, jinja2.TemplateError)  # of transformers
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
ALL = {"add_generation_prompt": True}


def multiply(a: float, b: list[int], how: Literal["fast", "slow"] = "fast") -> float:
    """
    Multiply a number with others.

    Args:
        a: The number, of any
            size at all
        b: The others
        how: How to do it (choices: ["fast", "slow"])

    Returns:
        The product.
    """
    return a * sum(b) * len(how)


SCHEMA = {
    "type": "function",
    "function": {"name": "look", "description": "Look <up> 'é'", "parameters": {"type": "object", "properties": {}}},
}
USER = {"role": "user", "content": " What is 2 < 3 & é? "}
ANSWER = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes.\n"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "abcdefghi", "type": "function", "function": {"name": "look", "arguments": {"x": "é", "y": [1, None]}}}
    ],
}
RESULT = {"role": "tool", "name": "look", "content": "42"}
CHATS = {
    "one": [USER],
    "system": [{"role": "system", "content": "Be kind.\n"}, USER],
    "turns": [USER, ANSWER, {"role": "user", "content": "Why?"}],
    "tools": [USER, CALL, RESULT],
    "many": [USER, ANSWER] * 4 + [USER],
    "reasoning": [USER, {"role": "assistant", "content": "Yes", "thinking": "it is"}],
    "blocks": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}],
    "odd": [{"role": "assistant", "content": "first"}],
}
DOCUMENTS = [{"title": "T1", "text": "One."}, {"title": "Tö2", "text": "Two <b>"}]
OPTIONS = {
    "plain": {},
    "prompt": {"add_generation_prompt": True},
    "tools": {"tools": [multiply, SCHEMA], "add_generation_prompt": True},
    "documents": {"documents": DOCUMENTS},
    "continue": {"continue_final_message": True},
    "variables": {"add_generation_prompt": True, "enable_thinking": False, "date_string": "today", "bos_token": "<B>"},
}


def theirs_with(source):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")), **TOKENS)
    tokenizer.chat_template = source
    return tokenizer


def ours(source, chat, *, tools=None, documents=None, chat_template=None, **options):
    named = {name: options.pop(name) for name in ("add_generation_prompt", "continue_final_message") if name in options}
    templates = ChatTemplates(source if isinstance(source, dict) else {"default": source})
    return templates.render(
        chat,
        tools=tools,
        documents=documents,
        chat_template=chat_template,
        special_tokens=TOKENS,
        variables=options,
        **named,
    )


def theirs(source, chat, **options):
    return theirs_with(source).apply_chat_template(chat, tokenize=False, **options)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("chat", CHATS.values(), ids=CHATS)
@pytest.mark.parametrize("source", STYLES.values(), ids=STYLES)
def test_same_text_as_transformers(source, chat, options):
    before = json.dumps(chat)
    try:
        expected = theirs(source, chat, **options)
    except REFUSALS:
        with pytest.raises((UsageError, IntegrityError)) as refusal:
            ours(source, chat, **options)
        assert "\n" not in str(refusal.value)
        return
    assert ours(source, chat, **options) == expected
    assert json.dumps(chat) == before


def test_most_combinations_render():
    rendered = 0
    for source in STYLES.values():
        for chat in CHATS.values():
            for options in OPTIONS.values():
                try:
                    rendered += bool(theirs(source, chat, **options))
                except REFUSALS:
                    continue
    assert rendered > 200


def test_the_date_is_today():
    source = "{{ strftime_now('%Y-%m-%d') }}"
    assert ours(source, [USER]) == theirs(source, [USER])


@pytest.mark.parametrize("end", ["", " ", "\n\n", " .\n"])
@pytest.mark.parametrize("source", [CHATML, GEMMA, MISTRAL, QWEN], ids=["chatml", "gemma", "mistral", "qwen"])
def test_the_last_message_goes_on(source, end):
    chat = [USER, {"role": "assistant", "content": f" Sure{end}"}]
    assert ours(source, chat, continue_final_message=True) == theirs(source, chat, continue_final_message=True)


@pytest.mark.parametrize("name", ["reasoning_content", "thinking"])
def test_the_reasoning_goes_on(name):
    chat = [USER, {"role": "assistant", "content": "x", name: "so far"}]
    assert ours(REASONING, chat, continue_final_message=name) == theirs(REASONING, chat, continue_final_message=name)
    assert ours(REASONING, chat, continue_final_message=name).endswith("<think>so far")


def test_the_last_text_block_goes_on():
    chat = [{"role": "assistant", "content": [{"type": "text", "text": "so"}, {"type": "image"}]}]
    assert ours(BLOCKS, chat, continue_final_message=True) == theirs(BLOCKS, chat, continue_final_message=True)


@dataclasses.dataclass
class Written:
    role: str
    content: Any


class Word(str):  # noqa: SLOT000 - what a caller may have
    def shout(self):
        return self.upper()


@pytest.mark.parametrize(
    "content",
    [Word("w"), np.float32(1.5), np.bool_(False), np.zeros(2), {"a": (1, 2)}, True, 7, object(), [Word("x"), {1: 2}]],
    ids=lambda content: type(content).__name__,
)
def test_values_reach_a_template_as_plain_data(content):
    source = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} {{ m.content.shout is defined }}{% endfor %}{{ extra }}"
    )
    for message in ({"role": "user", "content": content}, Written("user", content)):
        if isinstance(message, dict):
            assert ours(source, [message], extra=content) == theirs(source, [message], extra=content)
        assert "False" in ours(source, [message])


def test_none_is_as_good_as_absent():
    source = "{{ messages[0].name is defined }} {{ messages[0] }}"
    chat = [{"role": "user", "content": "x", "name": None}]
    assert ours(source, chat) == theirs(source, chat) == "False {'role': 'user', 'content': 'x'}"


# Named templates, and where they lie.


def test_named_templates():
    sources = {"default": "D", "tool_use": "T", "rag": "R"}
    for options in ({}, {"tools": [SCHEMA]}, {"chat_template": "rag"}, {"chat_template": "{{ 1 + 1 }}"}):
        assert ours(sources, [USER], **options) == theirs(sources, [USER], **options)


@pytest.mark.parametrize("sources", [{}, {"rag": "R"}], ids=["none", "no default"])
def test_no_template(sources):
    with pytest.raises(UsageError, match=r"no (default )?chat template"):
        ours(sources, [USER])


@pytest.mark.parametrize("sources", ["one", {"default": "d", "tool_use": "t"}, {"rag": "r"}], ids=str)
def test_templates_are_read_as_transformers_writes_them(tmp_path, sources):
    tokenizer = theirs_with(sources)
    tokenizer.save_pretrained(tmp_path)
    expected = {"default": sources} if isinstance(sources, str) else sources
    assert ChatTemplates.from_folder(tmp_path).sources == expected
    assert not ChatTemplates.from_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("entry", "sources"),
    [
        ("x", {"default": "x"}),
        ([{"name": "default", "template": "a"}, {"name": "rag", "template": "b"}], {"default": "a", "rag": "b"}),
        (None, {}),
    ],
    ids=str,
)
def test_templates_in_the_config(tmp_path, entry, sources):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": entry}))
    assert ChatTemplates.from_folder(tmp_path).sources == sources


@pytest.mark.parametrize("config", ['{"chat_template": 3}', '{"chat_template": [{"name": 1}]}', "[1]", "{", "\udcff"])
def test_a_config_that_is_none(tmp_path, config):
    (tmp_path / "tokenizer_config.json").write_bytes(config.encode("utf-8", "surrogateescape"))
    with pytest.raises(IntegrityError):
        ChatTemplates.from_folder(tmp_path)


# Bad chats.


@pytest.mark.parametrize(
    ("chat", "options", "said"),
    [
        ([], {}, "at least one message"),
        ("text", {}, "at least one message"),
        (["text"], {}, "a message is a dict"),
        ([USER], {"documents": ["d"]}, "documents must be"),
        ([USER], {"tools": SCHEMA}, "tools must be a list"),
        ([USER], {"continue_final_message": True, "add_generation_prompt": True}, "exclude each other"),
        ([USER], {"continue_final_message": "reasoning_content"}, "needs a last message with"),
        ([{"role": "user", "content": []}], {"continue_final_message": True}, "no text to go on with"),
        ([{"role": "user", "content": 3}], {}, "fails on this chat"),
        ([{"content": "x"}], {}, "misses something"),
    ],
)
def test_a_bad_chat(chat, options, said):
    with pytest.raises(UsageError, match=said):
        ours(CHATML, chat, **options)


def test_a_chat_that_holds_itself():
    content = []
    content.append(content)
    with pytest.raises(UsageError, match="contain themselves"):
        ours(CHATML, [{"role": "user", "content": content}])


def test_the_template_refuses_a_chat():
    with pytest.raises(UsageError, match="rejects this chat: Conversation roles must alternate"):
        ours(GEMMA, [USER, USER])


def test_a_template_that_hides_the_last_message():
    with pytest.raises(UsageError, match="leaves the end of the last message out"):
        ours("{{ messages[0].content[:3] }}", [ANSWER], continue_final_message=True)


def test_long_chats_fit():
    chat = [{"role": role, "content": "words and more é " * 60} for role in ("user", "assistant")] * 500
    assert ours(QWEN, chat) == theirs(QWEN, chat)


def test_one_template_from_many_threads():
    chats = [[{"role": "user", "content": f"{index}" * 50}] for index in range(8)]
    found = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: [ours(QWEN, chats[i], **ALL) for _ in range(20)]}))
        for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[i] == [theirs(QWEN, chats[i], **ALL)] * 20 for i in range(8))


def test_a_template_alone():
    assert render_template("{{ a }}{{ b|tojson }}", {"a": 1, "b": "<"}) == '1"<"'
