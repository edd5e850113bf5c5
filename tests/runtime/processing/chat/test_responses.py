"""Answers taken apart by response templates, beside transformers' parser."""

import copy

import pytest
from transformers.utils.chat_parsing import parse_response as theirs

from vitrify.runtime.errors import IntegrityError, UsageError
from vitrify.runtime.processing.chat import response_values
from vitrify.runtime.processing.chat.responses import parse_response

THINKING = {"open": "<think>", "close": "</think>", "content": "text"}
CALL = {"type": "function", "function": {"name": "{content.name}", "arguments": "{content.arguments}"}}
CALLS = {"open": "<tool_call>", "close": "</tool_call>", "content": "json", "repeats": True, "transform": CALL}
QWEN = {
    "start_anchor": "<|im_start|>assistant\n",
    "defaults": {"role": "assistant"},
    "fields": {"thinking": THINKING, "tool_calls": CALLS, "content": {"close": ["<|im_end|>", "eos"]}},
}
XML = {"tag_pattern": r"<parameter=(?P<key>\w+)>\n?(?P<value>.*?)\n?</parameter>"}
NAMED = {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}}


def one(**field):
    """Return a template of one field after an anchor."""
    return {"start_anchor": "A:", "fields": {"it": field}}


def calls(**field):
    return {
        "start_anchor": "A:",
        "fields": {"tool_calls": {"transform": NAMED, "repeats": True, **field}, "content": {}},
    }


BY_PATTERN = calls(
    open_pattern=r"<function=(?P<name>\w+)>", close="</function>", content="xml-inline", content_args=XML
)
CHANNELS = {
    "start_anchor_pattern": r"<\|start\|>assistant",
    "fields": {
        "thinking": {
            "open": "<|channel|>analysis<|message|>",
            "close": ["<|end|>", "<|return|>"],
            "repeats": True,
            "join": "\n",
        },
        "content": {"open_pattern": r"<\|channel\|>final\s*<\|message\|>", "close_pattern": r"<\|(end|return)\|>"},
    },
}
MIXED = {"type": ["integer", "string"]}
TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "parameters": {
            "type": "object",
            "properties": {
                "count": {"type": "integer"},
                "share": {"type": "number"},
                "deep": {"type": "boolean"},
                "names": {"type": "array"},
                "more": {"type": "object"},
                "maybe": {"type": "integer", "nullable": True},
                "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
                "mixed": MIXED,
                "text": {"type": "string"},
            },
        },
    },
}


def written(**arguments):
    inner = "".join(f"<parameter={name}>\n{value}\n</parameter>" for name, value in arguments.items())
    return f"<function=look>{inner}</function>"


HEARD = "<|channel|>analysis<|message|>"
FITTING = {
    "nothing": (QWEN, "<|im_start|>assistant\n", ""),
    "content alone": (QWEN, "<|im_start|>assistant\n", "Hello.<|im_end|>"),
    "no end": (QWEN, "<|im_start|>assistant\n", "Hello"),
    "thinking": (QWEN, "<|im_start|>assistant\n", "<think>\nwell\n</think>\n\nHello.<|im_end|>"),
    "thinking without an end": (QWEN, "<|im_start|>assistant\n", "<think>\nwell Hello.<|im_end|>"),
    "the prompt began to think": (QWEN, "u<|im_start|>assistant\n<think>\n", "well</think>Hello.<|im_end|>"),
    "the last anchor": (QWEN, "<|im_start|>assistant\n<think>old</think>x<|im_end|><|im_start|>assistant\n", "new"),
    "no anchor": (QWEN, "<think>from the prompt</think>", "new"),
    "a call": (QWEN, "", '<tool_call>{"name": "look", "arguments": {"count": "7"}}</tool_call><|im_end|>'),
    "two calls": (QWEN, "", '<tool_call>{"name": "a", "arguments": {}}</tool_call>\n' * 2),
    "text after the end": (QWEN, "", "one<|im_end|>two<|im_end|>"),
    "by pattern": (BY_PATTERN, "A:", f"Let me.{written(count=7, text=8)}"),
    "channels": (
        CHANNELS,
        "<|start|>user<|message|>q<|end|><|start|>assistant",
        f"{HEARD}a<|end|><|start|>assistant{HEARD}b<|end|><|channel|>final <|message|>c<|return|>",
    ),
    "types": (
        BY_PATTERN,
        "A:",
        written(count="3.0", share="2", deep="True", names="[1]", more="{}", maybe="null", either="None", mixed="x"),
    ),
    "types that do not fit": (
        BY_PATTERN,
        "A:",
        written(
            count="3.5", share="nan", deep="yes", names="{}", more="[]", maybe="x", either="y", mixed="4", text="5"
        ),
    ),
    "a longer literal wins": (one(open=["<a", "<ab"], close=">"), "A:", "<ab>x>"),
    "an anchor of zero width": (
        {"start_anchor": "A:", "fields": {"head": {"open": "#", "close_pattern": r"(?=\n)"}, "rest": {}}},
        "A:",
        "# Title\nbody # more",
    ),
    "an end of zero width": (one(close_pattern=r"(?=;)"), "A:", "one;two"),
    "not stripped": (one(content_args={"strip": False}), "A:", " x \n"),
    "int": (one(content="int"), "A:", " 12 "),
    "float": (one(content="float"), "A:", " 1e3 "),
    "bool": (one(content="bool"), "A:", " TRUE "),
    "JSON": (one(content="json"), "A:", '{"a": [1, null]}'),
    "JSON or not": (one(content="json", content_args={"allow_non_json": True}), "A:", " {a} "),
    "bare keys": (one(content="json", content_args={"unquoted_keys": True}), "A:", "{a:1,b:{c:2}}"),
    "other marks": (
        one(content="json", content_args={"unquoted_keys": True, "string_delims": [["<q>", "</q>"]]}),
        "A:",
        '{a:<q>he said "no"</q>,b:<q></q>}',
    ),
    "lines": (one(content="kv-lines"), "A:", "a: 1\n\nb : x:y\nnothing\n"),
    "lines of numbers": (
        one(content="kv-lines", content_args={"line_sep": ";", "kv_sep": "=", "value_parser": {"name": "int"}}),
        "A:",
        "a=1; b = 2 ;",
    ),
    "merged": (
        one(content="xml-inline", content_args={**XML, "merge_duplicates": True, "value_parser": {"name": "json"}}),
        "A:",
        "".join(f"<parameter=a>{value}</parameter>" for value in (1, 2, 3)),
    ),
    "each": (
        one(content="json", transform={"is": "{a}", "kind": "fixed", "list": ["{a.b}"]}, transform_each=True),
        "A:",
        '[{"a": {"b": 1}}, {"a": {"b": 2}}]',
    ),
    "defaults stay": ({**one(), "defaults": {"it": "", "other": []}}, "A:", "  "),
    "a pattern of regex": (one(open_pattern=r"\p{Lu}++", close=r"."), "A:", "ABc."),
}


@pytest.mark.parametrize("case", FITTING.values(), ids=FITTING)
def test_an_answer_is_taken_apart_as_in_transformers(case):
    spec, prefix, text = case
    before = copy.deepcopy(spec)
    expected = theirs(text, spec, prefix=prefix, tools=[TOOL])
    assert parse_response(spec, text, prefix=prefix, tools=[TOOL]) == expected
    assert parse_response(spec, text, prefix=prefix) == theirs(text, spec, prefix=prefix)
    assert spec == before


UNFITTING = {
    "no JSON": (one(content="json"), "{a}"),
    "no number": (one(content="int"), "twelve"),
    "missing": (one(open="<", close=">", optional=False), "text"),
    "joined": ({**one(open="<", close=">", content="int", repeats=True, join=" ")}, "<4>"),
    "no list": (one(content="json", transform="{a}", transform_each=True), "{}"),
    "no key": (one(content="json", transform="{content.a}"), "{}"),
    "no pattern": (one(content="xml-inline"), "<a>"),
    "control characters": (one(content="json", content_args={"string_delims": [["<", ">"]]}), "\x01"),
}


@pytest.mark.parametrize("case", UNFITTING.values(), ids=UNFITTING)
def test_an_answer_that_does_not_fit_is_said(case):
    spec, text = case
    with pytest.raises((ValueError, KeyError)):
        theirs(text, spec, prefix="A:")
    with pytest.raises(UsageError, match="does not fit the checkpoint's response_template"):
        parse_response(spec, text, prefix="A:")


BROKEN = {
    "a text": "content",
    "version": {**one(), "version": 2},
    "unknown": {**one(), "more": 1},
    "no fields": {"start_anchor": "A:", "fields": {}},
    "no anchor": {"fields": {"it": {}}},
    "two sinks": {"start_anchor": "A:", "fields": {"a": {}, "b": {}}},
    "a field that is no object": {"start_anchor": "A:", "fields": {"a": "text"}},
    "an unknown key": one(closes="x"),
    "an unknown parser": one(content="yaml"),
    "both": one(open="a", open_pattern="b"),
    "an empty literal": one(open=["a", ""]),
    "no literals": one(open=[]),
    "no pattern": one(open_pattern="("),
    "join alone": one(open="a", join=" "),
    "each alone": one(transform_each=True),
    "mixed": one(transform="a {content}"),
    "names without a transform": one(open_pattern="(?P<name>a)"),
    "defaults": {**one(), "defaults": []},
}


@pytest.mark.parametrize("spec", BROKEN.values(), ids=BROKEN)
def test_what_is_no_template_is_refused(spec):
    with pytest.raises(ValueError):  # noqa: PT011 - theirs have no words in common
        theirs("x", spec, prefix="A:")
    with pytest.raises(IntegrityError, match="response_template"):
        parse_response(spec, "x", prefix="A:")


@pytest.mark.parametrize(
    "spec",
    [one(open_pattern=r"(a|a)*b"), one(content="xml-inline", content_args={"tag_pattern": r"(?P<key>(a+)+)b"})],
    ids=["an anchor", "a content"],
)
def test_patterns_are_bounded_in_time(spec, monkeypatch):
    monkeypatch.setattr(response_values, "SECONDS", 0.1)
    with pytest.raises(IntegrityError, match="take longer than"):
        parse_response(spec, "a" * 4000 + "cb", prefix="A:")


def test_anchors_that_never_advance_end(monkeypatch):
    monkeypatch.setattr(response_values, "SECONDS", 0.1)
    spec = {"start_anchor": "A:", "fields": {"a": {"open_pattern": "(?=x)", "close_pattern": "(?=x)"}}}
    with pytest.raises(IntegrityError, match="take longer than"):
        parse_response(spec, "x", prefix="A:")
