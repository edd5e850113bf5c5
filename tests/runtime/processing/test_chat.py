"""Chat templates beside transformers' apply_chat_template, and templates that mean harm."""

import dataclasses
import enum
import json
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any, Literal, Optional, Union

import jinja2
import numpy as np
import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import get_json_schema

from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.chat import ChatTemplates, render_template
from vitrify.runtime.processing.tools import function_schema, tool_schemas

# Short templates in the styles that checkpoints have, each with what its real model is known to use of jinja.
STYLES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "chat_templates").glob("*.jinja"))
}
BLOCKS, CHATML, GEMMA, MISTRAL, QWEN, REASONING = (
    STYLES[name] for name in ("blocks", "chatml", "gemma", "mistral", "qwen", "reasoning")
)
REFUSALS = (ValueError, TypeError, jinja2.TemplateError)  # of transformers
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
ALL = {"add_generation_prompt": True}
DEADLINE = 20  # seconds; a template is stopped after five at most, but the machine may be busy


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


class Color(enum.Enum):
    RED = "red"
    BLUE = 2


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


# Tools.


def deep(
    self,
    one: int,
    two: Optional[str],  # noqa: UP045 - what callers write
    three: Union[int, str, None],  # noqa: UP007
    four: dict[str, list[float]],
    five: tuple[int, str],
    six: Color = Color.RED,
    seven: Any = None,
    eight: Literal[1, "a", None] = 1,  # noqa: PYI061
    nine: list | int = 3,
    ten: list[int] | int = 3,
) -> list[str] | None:
    """Do much: a lot.

    It has a second part.

    Args:
        one: First
        two: Second: with a colon
        three: Third (choices: [1, "b "])

        four: Fourth
            goes on
            and on: truly
        five: Fifth
        six: 6
        seven: 7
        eight: 8
        nine: 9
        ten: 10
    Returns:
        Something.
    Raises:
        ValueError: never
    """


def bare() -> None:
    """Do nothing."""


def unknown_return(a: int) -> np.ndarray:
    """Make one.

    Args:
        a: Its size
    """


class Kind:
    def method(self, a: bool) -> None:
        """Do it.

        Args:
            a: Whether
        """


@pytest.mark.parametrize("function", [multiply, deep, bare, unknown_return, Kind().method], ids=lambda f: f.__name__)
def test_same_schema_as_transformers(function):
    assert json.dumps(function_schema(function)) == json.dumps(get_json_schema(function))


def no_doc(a: int): ...


def no_hint(a):
    """Do.

    Args:
        a: it
    """


def no_description(a: int):
    """Do."""


def strange(a: np.ndarray):
    """Do.

    Args:
        a: it
    """


def bad_choices(a: str):
    """Do.

    Args:
        a: it (choices: x, y)
    """


def lost(a: "Nowhere"):  # noqa: F821 - that is the point
    """Do.

    Args:
        a: it
    """


@pytest.mark.parametrize(
    "tool", [no_doc, no_hint, no_description, strange, bad_choices, lost, len, 3, "look", None, Kind]
)
def test_a_tool_that_is_none(tool):
    with pytest.raises(UsageError):
        tool_schemas([tool])


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
    with pytest.raises(UsageError, match="hold themselves"):
        ours(CHATML, [{"role": "user", "content": content}])


def test_the_template_refuses_a_chat():
    with pytest.raises(UsageError, match="refuses this chat: Conversation roles must alternate"):
        ours(GEMMA, [USER, USER])


def test_a_template_that_hides_the_last_message():
    with pytest.raises(UsageError, match="leaves the end of the last message out"):
        ours("{{ messages[0].content[:3] }}", [ANSWER], continue_final_message=True)


# Bad templates: each is stopped in bounded time and memory.

LOOPS = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "output": "{% for a in range(99999) %}{% for b in range(99999) %}word{% endfor %}{% endfor %}",
    "silent output": "{% set x %}{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxx"
    "{% endfor %}{% endfor %}{% endset %}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "tree of macros": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "block": "{% block b %}{{ self.b() }}{% endblock %}",
    "recursive loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "doubling": "{% set n = namespace(x='ab') %}{% for a in range(64) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x='ab') %}{% for a in range(64) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "list of lists": "{% set n = namespace(x=[1]) %}{% for a in range(64) %}{% set n.x = [n.x, n.x] %}{% endfor %}"
    "{{ n.x }}",
    "dict of dicts": "{% set n = namespace(x=1) %}{% for a in range(64) %}{% set n.x = {'a': n.x, 'b': n.x} %}"
    "{% endfor %}"
    "{{ n.x|tojson }}",
    "tuples": "{% set n = namespace(x=()) %}{% for a in range(64) %}{% set n.x = (n.x, n.x) %}{% endfor %}"
    "{{ n.x == 1 }}",
    "namespaces": "{% set n = namespace(x=1) %}{% for a in range(64) %}{% set n.x = namespace(a=n.x, b=n.x) %}"
    "{% endfor %}"
    "{{ n.x }}{{ [n.x]|string }}{% for a in range(99999) %}{% for a in range(99999) %}{% endfor %}{% endfor %}",
    "times": "{{ 'a' * 10000000000 }}",
    "list times": "{{ [1] * 10000000000 }}",
    "power": "{{ 10 ** 10000000000 }}",
    "products": "{% set n = namespace(x=9) %}{% for a in range(64) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "range": "{% for a in range(10000000000) %}{% endfor %}",
    "center": "{{ 'a'|center(10000000000) }}",
    "ljust": "{{ 'a'.ljust(10000000000) }}",
    "zfill": "{{ 'a'.zfill(10000000000) }}",
    "tabs": "{{ '\t'.expandtabs(10000000000) }}",
    "percent": "{{ '%10000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (10000000000, 1) }}",
    "percent filter": "{{ '%10000000000s'|format('a') }}",
    "format": "{{ '{:10000000000}'.format('a') }}",
    "format in format": "{{ '{:{}}'.format('a', 10000000000) }}",
    "format map": "{{ '{a:10000000000}'.format_map({'a': 1}) }}",
    "many fields": "{{ ('{0}' * 9999).format('a' * 99999) }}",
    "indent": "{{ ('\n' * 99999)|indent(99999) }}",
    "indent by a text": "{{ ('\n' * 99999)|indent('a' * 99999) }}",
    "replace": "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
    "replace filter": "{{ ('a' * 99999)|replace('a', 'b' * 99999) }}",
    "join": "{{ range(99999)|join('a' * 99999) }}",
    "join method": "{{ ('a' * 99999).join(range(99999)|map('string')) }}",
    "one text often": "{{ range(99999)|map(attribute='x', default='a' * 99999)|join }}",
    "list of one text": "{{ range(99999)|map(attribute='x', default='a' * 99999)|list }}",
    "tojson": "{{ ([1] * 99999)|tojson(indent=99999) }}",
    "tojson separators": "{{ ([1] * 99999)|tojson(separators=('a' * 99999, 'b')) }}",
    "round": "{{ 1.5|round(10000000000, 'ceil') }}",
    "batch": "{{ [1]|batch(10000000000, 'a')|list }}",
    "batch by name": "{{ [1]|batch(linecount=10000000000, fill_with='a')|list }}",
    "slice": "{{ [1]|slice(10000000000)|list }}",
    "sum of lists": "{{ ([[1]] * 99999)|sum(start=[]) }}",
    "bytes": "{{ (1).to_bytes(10000000000, 'big') }}",
    "words of nothing": "{{ lipsum(n=10000000000) }}",
    "filtered loop": "{% for a in range(99999) if range(99999)|map('string')|list %}{% endfor %}",
    "sorting": "{% for a in range(99999) %}{% set b = range(99999)|sort %}{% endfor %}",
    "comparing": "{% set x = 'a' * 9999999 %}{% set y = 'a' * 9999999 %}{% for a in range(99999) %}"
    "{% for a in range(99999) %}{% set z = x == y %}{% endfor %}{% endfor %}",
    "long": "{% if a %}b{% endif %}" * 99999,
    "deep": "{{ " + "(" * 9999 + "1" + ")" * 9999 + " }}",
}
TRICKS = (
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [1]|map(attribute='__class__')|list }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "{{ raise_exception.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.system('true') }}",
    "{{ self._TemplateReference__context }}",
    "{{ namespace(__class__=1) }}",
    "{% set n = namespace() %}{% set n._a = 1 %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update({'a': 1}) }}",
    "{{ messages[0].pop('role') }}",
    "{{ ''.encode() }}",
    "{{ ''.upper.__self__ }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ strftime_now.__code__ }}",
    "{{ (messages|map('upper')).gi_frame }}",
    "{{ loop.__class__ }}{% for a in [1] %}{{ loop._iterable }}{% endfor %}",
    "{{ dict.__class__ }}",
    "{{ caller.__class__ }}{% macro m() %}{% endmacro %}{{ m._func }}",
    "{{ 1 .real.__class__ }}",
)


# They run until the clock stops them, or nearly.
LONG = {"dict of dicts", "filtered loop", "list of lists", "sorting", "tree of macros", "tuples"}


def loops():
    for name, source in LOOPS.items():
        yield pytest.param(source, id=name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("source", list(loops()))
def test_a_template_without_end_is_stopped(source):
    started = time.monotonic()
    with pytest.raises((IntegrityError, UsageError)) as refusal:
        ours(source, [USER])
    assert time.monotonic() - started < DEADLINE
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("name", ["doubling", "many fields", "one text often"])
def test_a_template_builds_no_gigabytes(name):
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            ours(LOOPS[name], [USER])
        assert tracemalloc.get_traced_memory()[1] < 600e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("source", TRICKS)
def test_attributes_are_out_of_reach(source):
    chat = [dict(USER)]
    with pytest.raises((IntegrityError, UsageError)):
        ours(source, chat)
    assert chat == [USER]


@pytest.mark.parametrize("source", ["{% for", "{{ 'a' }", "{% nothing %}", "{{ a|nothing }}", "{{ a is nothing }}"])
def test_what_is_no_template(source):
    with pytest.raises(IntegrityError, match="the chat template cannot be read: line 1"):
        ours(source, [USER])


def test_a_template_of_the_caller_is_the_callers_fault():
    with pytest.raises(UsageError, match="cannot be read"):
        ours({"default": "fine"}, [USER], chat_template="{% for")


@pytest.mark.parametrize("source", ["{% include 'x' %}", "{% import 'x' as y %}", "{% extends '/etc/passwd' %}"])
def test_no_other_files(source):
    with pytest.raises(UsageError):
        ours(source, [USER])


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
