"""text-generation: its streamers, readers that leave, and calls that cannot be right."""

import copy
import threading
from enum import Enum
from functools import partial

import pytest

from tests.parity.generating import CHAT, CONTEXT, GREEDY, PREFILLED, TEXTS, USER, chatting_llama, generating_pair
from vitrify.runtime.errors import IntegrityError, UnsupportedError, UsageError
from vitrify.runtime.generation.streaming import TextIteratorStreamer, TextStreamer


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Return a function from arguments to (ours, transformers')."""
    return partial(generating_pair, chatting_llama(tmp_path_factory.mktemp("tiny")))


@pytest.mark.parametrize("inputs", [TEXTS[0], CHAT], ids=["text", "chat"])
@pytest.mark.parametrize("every_token", [True, False])
def test_a_streamer_sees_the_answer(pair, inputs, every_token):
    ours, _ = pair()
    texts = []
    streamer = TextStreamer(ours.tokenizer, True, to=texts.append, every_token=every_token, skip_special_tokens=True)
    result = ours(inputs, streamer=streamer, return_full_text=False, **GREEDY)
    assert "".join(texts) == result[0]["generated_text"]


def test_an_iterator_while_another_thread_generates(pair):
    ours, theirs = pair()
    streamer = TextIteratorStreamer(ours.tokenizer, True, timeout=30, every_token=True, skip_special_tokens=True)
    thread = threading.Thread(target=ours, args=(TEXTS[0],), kwargs={"streamer": streamer, **GREEDY})
    thread.start()
    text = "".join(streamer)
    thread.join()
    assert text == theirs(TEXTS[0], return_full_text=False, **GREEDY)[0]["generated_text"]


def test_a_reader_that_leaves_ends_generation(pair):
    ours, _ = pair()
    streamer = TextIteratorStreamer(ours.tokenizer, True, timeout=30, every_token=True)
    results = []
    options = {
        "streamer": streamer,
        "max_new_tokens": 380,
        "do_sample": False,
        "eos_token_id": [],
        "return_tensors": True,
    }
    thread = threading.Thread(target=lambda: results.extend(ours("a", **options)))
    thread.start()
    for _ in streamer:
        break
    thread.join(60)
    assert not thread.is_alive()
    assert len(results[0]["generated_token_ids"]) < 900


def test_a_callback_that_fails_ends_generation(pair):
    ours, _ = pair()

    def read(_text):
        raise BrokenPipeError

    streamer = TextStreamer(ours.tokenizer, True, to=read, every_token=True)
    result = ours("a", streamer=streamer, return_tensors=True, do_sample=False)
    assert len(result[0]["generated_token_ids"]) < 9


def test_an_error_reaches_a_waiting_reader(pair):
    ours, _ = pair()
    streamer = TextIteratorStreamer(ours.tokenizer, timeout=30)
    with pytest.raises(UsageError):
        ours("a", streamer=streamer, no_such_argument=1)
    with pytest.raises(UsageError, match="no_such_argument"):
        next(iter(streamer))


def test_a_streamer_takes_one_row(pair):
    ours, _ = pair()
    with pytest.raises(UsageError):
        ours(TEXTS, streamer=TextStreamer(ours.tokenizer), batch_size=2, **GREEDY)
    texts = []
    ours(TEXTS, streamer=TextStreamer(ours.tokenizer, True, to=texts.append), **GREEDY)
    assert texts


# Bad calls.


class Kind(Enum):
    STRANGE = 0


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ("a", {"return_full_text": True, "return_text": True}, "exclude each other"),
        ("a", {"return_full_text": True, "return_tensors": True}, "exclude each other"),
        ("a", {"return_text": True, "return_tensors": True}, "exclude each other"),
        ("a", {"return_type": "strange"}, "return_type must be one of"),
        ("a", {"return_type": Kind.STRANGE}, "return_type must be one of"),
        ("a", {"max_newtokens": 3}, "Did you mean 'max_new_tokens'"),
        ("a", {"xyzzy": 3}, "It accepts: return_full_text"),
        ("a", {"generation": {}}, "unknown argument 'generation'"),
        ("a", {"handle_long_generation": "cut"}, "None or 'hole'"),
        ("a", {"generation_config": 3}, "generation_config must be"),
        ("a", {"max_new_tokens": 0}, "max_new_tokens"),
        ("a", {"num_return_sequences": 2}, "num_return_sequences"),
        ("a", {"stop_sequence": 3}, "stop_sequence must be"),
        ("a", {"stop_sequence": [""]}, "stop_sequence must be"),
        ("a", {"prefix": 3}, "prefix must be"),
        ("a", {"tokenizer_encode_kwargs": 3}, "tokenizer_encode_kwargs must be"),
        ("a", {"tokenizer_encode_kwargs": {"strange": 3}}, "strange"),
        ("a " * 2 * CONTEXT, {}, "token"),
        (3, {}, "expects a text or a chat"),
        ([3], {}, "expects a text or a chat"),
        ([[]], {}, "expects a text or a chat"),
        ({"role": "user", "content": "x"}, {}, "expects a text or a chat"),
        ([USER, "text"], {}, "each message of a chat"),
        ([USER, {"role": "user"}], {}, "each message of a chat"),
        (PREFILLED, {"documents": "text"}, "documents must be"),
        (CHAT, {"tools": ["look"]}, "a tool is"),
        ([{"role": "user", "content": 3}], {"continue_final_message": True}, "continue_final_message"),
    ],
)
def test_a_bad_call(pair, inputs, options, said):
    ours, _ = pair()
    with pytest.raises(UsageError, match=said) as refusal:
        ours(inputs, **{**GREEDY, **options})
    assert "\n" not in str(refusal.value)


def test_an_empty_prompt_without_a_first_token(pair):
    ours, _ = pair(says={"bos_token_id": None})
    ours.bundle._model.config = copy.copy(ours.bundle._model.config)
    ours.bundle._model.config.bos_token_id = None
    with pytest.raises(UsageError, match="without a single token"):
        ours("", **GREEDY)


def test_a_template_that_loops(pair):
    ours, _ = pair()
    source = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    ours.tokenizer.chat_templates = type(ours.tokenizer.chat_templates)({"default": source})
    with pytest.raises(IntegrityError, match="the chat template is rejected"):
        ours(CHAT, **GREEDY)


def test_a_chat_without_a_template(pair):
    ours, _ = pair()
    ours.tokenizer.chat_templates = type(ours.tokenizer.chat_templates)()
    with pytest.raises(UsageError, match="no chat template"):
        ours(CHAT, **GREEDY)
    assert ours("a", **GREEDY)


def test_what_is_not_done(pair):
    ours, _ = pair()
    with pytest.raises(UnsupportedError, match="sanitize_control_tokens"):
        ours(CHAT, tokenizer_encode_kwargs={"sanitize_control_tokens": True}, **GREEDY)
