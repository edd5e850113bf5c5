"""A conversation keeps its turns, whatever ends an answer; the pipeline is a function of the messages."""

from types import SimpleNamespace

import pytest

from vitrify.runtime.errors import UsageError
from vitrify.runtime.pipelines.conversation import Conversation


class Words:
    """A tokenizer of one word a token."""

    chat_templates = True
    clean_up_tokenization_spaces = False

    def decode(self, ids, **_options):
        return "".join(f"w{each} " for each in ids)


class Pipe:
    """Answers with the number of messages, token by token; `fails` is raised after the first of them."""

    def __init__(self, fails=None):
        self.tokenizer = Words()
        self.bundle = SimpleNamespace(name="fake")
        self.fails = fails
        self.asked = []

    def __call__(self, messages, *, streamer, **options):
        self.asked.append(([dict(message) for message in messages], options))
        streamer.put([0])  # the prompt
        for number in range(len(messages)):
            streamer.put([number])
            if self.fails is not None:
                raise self.fails
        streamer.end()


def test_answers_stream_and_the_turns_are_kept():
    parts, pipe = [], Pipe()
    chat = Conversation(pipe, system="be brief", options={"top_k": 1})
    assert chat.answer("hello", parts.append) == "w0 w1 "
    assert parts == ["w0 ", "w1 "]
    chat.answer("more", parts.append)
    messages, options = pipe.asked[-1]
    assert [(each["role"], each["content"]) for each in messages] == [
        ("system", "be brief"),
        ("user", "hello"),
        ("assistant", "w0 w1 "),
        ("user", "more"),
    ]
    assert options["top_k"] == 1


def test_a_reset_keeps_the_system_prompt_unless_there_is_a_new_one():
    chat = Conversation(Pipe(), system="be brief")
    chat.answer("hello", str)
    chat.reset()
    assert (chat.turns, chat.system) == ([], "be brief")
    chat.reset("be kind")
    assert chat.system == "be kind"


def test_ctrl_c_ends_an_answer_and_keeps_what_was_written():
    chat = Conversation(Pipe(fails=KeyboardInterrupt()))
    assert chat.answer("hello", str) == "w0 "
    assert [turn["role"] for turn in chat.turns] == ["user", "assistant"]


def test_after_an_error_the_turn_is_as_if_it_was_not():
    chat = Conversation(Pipe(fails=UsageError("too long")))
    with pytest.raises(UsageError, match="too long"):
        chat.answer("hello", str)
    assert chat.turns == []


def test_a_model_without_a_chat_template_does_not_chat():
    pipe = Pipe()
    pipe.tokenizer.chat_templates = {}
    with pytest.raises(UsageError, match="'fake' has no chat template"):
        Conversation(pipe)
