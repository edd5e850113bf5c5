"""Streamers beside transformers', on every kind of tokenizer: what comes out and when, and readers who leave."""

import gc
import io
import random
import threading
from queue import Empty

import numpy as np
import pytest
from transformers import TextIteratorStreamer as TheirIterator
from transformers import TextStreamer as Theirs

from tests.checkpoints import TOKENIZERS
from tests.tokenizers_tiny import SENTENCES, tiny_tokenizer
from vitrify.export.processors.tokenizer import write_tokenizer
from vitrify.runtime.errors import UsageError, VitrifyError
from vitrify.runtime.generation.loop import StreamClosed
from vitrify.runtime.generation.streaming import BROKEN, StreamTimeout, TextIteratorStreamer, TextStreamer
from vitrify.runtime.processing.text.tokenizer import Tokenizer

UNBROKEN = ("é東😀½" * 30, "abcdefghij" * 12, "\n".join("ab" * 40))
TEXTS = (
    *SENTENCES,
    "one two\nthree four\n\n 東京 が 好き です\n",
    "isn't it 's a ' quote ' . They 've n't !",
    "  a   b ",
    "",
)


@pytest.fixture(scope="module", params=TOKENIZERS)
def both(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    theirs = tiny_tokenizer(TOKENIZERS[request.param], model_max_length=512)
    write_tokenizer(theirs, folder)
    return theirs, Tokenizer.from_folder(folder)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    write_tokenizer(tiny_tokenizer(TOKENIZERS["gpt2"], model_max_length=512), folder)
    return Tokenizer.from_folder(folder)


def chunks_of(make, prompt, ids, **options):
    """Return what a streamer handed on, and after how many tokens."""
    chunks = []

    class Kept(make):
        def on_finalized_text(self, text, stream_end=False):
            if text:
                chunks.append((len(given), text))

    given = []
    streamer = Kept(*options.pop("args"), **options)
    streamer.put(np.array(prompt))
    for token in ids:
        given.append(token)
        streamer.put(np.array([token]))
    given.append(None)
    streamer.end()
    return chunks


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"][0].tolist()


@pytest.mark.parametrize("skip_prompt", [True, False])
@pytest.mark.parametrize("text", [text for text in TEXTS if "\n" not in text], ids=lambda text: text[:12])
def test_same_chunks_as_transformers(both, text, skip_prompt):
    theirs, ours = both
    ids = ids_of(ours, text)
    expected = chunks_of(Theirs, ids[:3], ids[3:], args=(theirs, skip_prompt), skip_special_tokens=True)
    assert chunks_of(TextStreamer, ids[:3], ids[3:], args=(ours, skip_prompt), skip_special_tokens=True) == expected


def test_same_chunks_over_lines(bpe):
    """A tokenizer whose tokens are decoded alike at the start of a line and within."""
    theirs = tiny_tokenizer(TOKENIZERS["gpt2"], model_max_length=512)
    ids = ids_of(bpe, TEXTS[-4])
    assert chunks_of(TextStreamer, [], ids, args=(bpe,)) == chunks_of(Theirs, [], ids, args=(theirs,))


@pytest.mark.parametrize("every_token", [False, True])
def test_the_chunks_are_the_text(both, every_token):
    _, ours = both
    for text in (*TEXTS, *UNBROKEN, " ".join(TEXTS)):
        ids = ids_of(ours, text)
        chunks = chunks_of(TextStreamer, [], ids, args=(ours,), every_token=every_token, skip_special_tokens=True)
        assert "".join(chunk for _, chunk in chunks) == ours.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("cleans", [True, False])
def test_drawn_tokens_are_the_text(both, cleans):
    _, ours = both
    drawn = random.Random(0)
    words = [ids for text in TEXTS if (ids := ids_of(ours, text))]
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": cleans}
    for _ in range(40):
        ids = []
        for _ in range(30):
            text = drawn.choice(words)
            start = drawn.randrange(len(text))
            ids += text[start : start + drawn.randint(1, 6)]
        chunks = chunks_of(TextStreamer, [], ids, args=(ours,), every_token=True, **options)
        whole = ours.decode(ids, **options)
        if BROKEN not in whole:  # characters cut in two
            assert "".join(chunk for _, chunk in chunks) == whole


def test_every_token_comes_at_once(bpe):
    ids = ids_of(bpe, "The quick brown fox jumps")
    chunks = chunks_of(TextStreamer, [], ids, args=(bpe,), every_token=True)
    assert [count for count, _ in chunks] == list(range(1, len(ids) + 1))
    assert len(chunks) > len(chunks_of(TextStreamer, [], ids, args=(bpe,)))


def test_a_character_of_several_tokens_comes_whole(both):
    _, ours = both
    for text in ("a 👩‍💻 b", "🎉🎉", "½ naïve 東京", "a 😀"):
        chunks = chunks_of(TextStreamer, [], ids_of(ours, text), args=(ours,), every_token=True)
        assert not any(BROKEN in chunk for _, chunk in chunks)


def test_broken_bytes_come_at_the_end(bpe):
    ids = ids_of(bpe, "a😀")[:-1]
    chunks = chunks_of(TextStreamer, [], ids, args=(bpe,), every_token=True)
    assert "".join(chunk for _, chunk in chunks) == bpe.decode(ids)
    assert BROKEN in chunks[-1][1]


def test_a_long_line_does_not_cost_its_square(bpe):
    lengths = []

    class Counting:
        clean_up_tokenization_spaces = False

        def decode(self, ids, **options):
            lengths.append(len(ids))
            return bpe.decode(ids, **options)

    ids = ids_of(bpe, "word " * 500)
    chunks = chunks_of(TextStreamer, [], ids, args=(Counting(),), every_token=True)
    assert "".join(chunk for _, chunk in chunks) == bpe.decode(ids)
    assert max(lengths) < 100


# Where the text goes.


def test_a_file(bpe):
    file = io.StringIO()
    streamer = TextStreamer(bpe, to=file)
    streamer.put(np.array([ids_of(bpe, "one two")]))
    assert file.getvalue() == "one "
    streamer.end()
    assert file.getvalue() == "one two\n"


def test_standard_output(bpe, capsys):
    streamer = TextStreamer(bpe, skip_prompt=True)
    for text in ("prompt ", "one ", "two"):
        streamer.put(np.array(ids_of(bpe, text)))
    streamer.end()
    assert capsys.readouterr().out == "one two\n"


def test_a_function_and_a_second_run(bpe):
    texts = []
    streamer = TextStreamer(bpe, True, to=texts.append, every_token=True)
    for _ in range(2):
        streamer.put(np.array(ids_of(bpe, "prompt")))
        streamer.put(np.array(ids_of(bpe, "x")))
        streamer.end()
    assert texts == ["x", "x"]


def test_several_rows_are_refused(bpe):
    with pytest.raises(UsageError, match="one row at a time"):
        TextStreamer(bpe).put(np.zeros((2, 3), int))


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O on a closed file"), ZeroDivisionError()])
def test_a_reader_that_fails_ends_generation(bpe, caplog, error):
    def read(_text):
        raise error

    streamer = TextStreamer(bpe, to=read, every_token=True)
    with pytest.raises(StreamClosed) as closed:
        streamer.put(np.array(ids_of(bpe, "x")))
    assert closed.value.__cause__ is error
    assert bool(caplog.records) == (not isinstance(error, OSError))


# Iterators.


def run_through(streamer, ids, errors=None):
    """Feed a streamer from another thread, as generation does; return the thread and what it has fed."""
    fed = []

    def feed():
        try:
            streamer.put(np.array(ids[:1]))
            for token in ids[1:]:
                streamer.put(np.array([token]))
                fed.append(token)
            streamer.end()
        except StreamClosed as closed:
            (errors if errors is not None else []).append(closed)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread, fed


@pytest.mark.parametrize("every_token", [True, False])
def test_an_iterator_gives_the_text(bpe, every_token):
    ids = ids_of(bpe, " ".join(SENTENCES))
    streamer = TextIteratorStreamer(bpe, timeout=10, every_token=every_token)
    thread, _ = run_through(streamer, ids)
    assert "".join(streamer) == bpe.decode(ids)
    thread.join(10)
    again, _ = run_through(streamer, ids[:9])
    assert "".join(streamer) == bpe.decode(ids[:9])
    again.join(10)


def test_the_same_texts_as_transformers(bpe):
    theirs = tiny_tokenizer(TOKENIZERS["gpt2"], model_max_length=512)
    ids = ids_of(bpe, SENTENCES[0])
    found = []
    for make, tokenizer in ((TextIteratorStreamer, bpe), (TheirIterator, theirs)):
        streamer = make(tokenizer, skip_prompt=True, timeout=10)
        run_through(streamer, ids)
        found.append([text for text in streamer if text])
    assert found[0] == found[1]


def test_next_alone(bpe):
    streamer = TextIteratorStreamer(bpe, timeout=10, every_token=True)
    run_through(streamer, ids_of(bpe, "x"))
    assert next(streamer) == "x"
    with pytest.raises(StopIteration):
        next(streamer)


@pytest.mark.parametrize("read", [next, lambda streamer: next(iter(streamer))])
def test_nobody_writes(bpe, read):
    with pytest.raises(StreamTimeout) as late:
        read(TextIteratorStreamer(bpe, timeout=0.01))
    assert isinstance(late.value, VitrifyError)
    assert isinstance(late.value, TimeoutError)
    assert isinstance(late.value, Empty)


def endless(bpe):
    ids = ids_of(bpe, "word ")
    while True:
        yield from ids


def left(bpe, leave):
    """Return after how many tokens generation ended when a reader left after its first text."""
    streamer = TextIteratorStreamer(bpe, timeout=10, every_token=True)
    tokens = endless(bpe)
    started, gone = threading.Event(), threading.Event()
    closed = []

    def feed():
        try:
            while True:
                streamer.put(np.array([next(tokens)]))
                started.set()
                gone.wait(10)
        except StreamClosed as reason:
            closed.append(reason)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    started.wait(10)
    leave(streamer)
    gc.collect()
    gone.set()
    thread.join(10)
    return bool(closed) and not thread.is_alive()


def leave_loop(streamer):
    for _ in streamer:
        break


def lose_iterator(streamer):
    iterator = iter(streamer)
    next(iterator)
    del iterator


def fail_in_loop(streamer):
    try:
        for _ in streamer:
            raise ZeroDivisionError  # noqa: TRY301
    except ZeroDivisionError:
        pass


@pytest.mark.parametrize(
    "leave",
    [
        leave_loop,
        lose_iterator,
        fail_in_loop,
        lambda streamer: streamer.close(),
        lambda streamer: iter(streamer).close(),
    ],
    ids=["break", "lost", "error", "close", "iterator closed"],
)
def test_generation_ends_when_its_reader_leaves(bpe, leave):
    assert left(bpe, leave)


def test_generation_goes_on_while_its_reader_stays(bpe):
    ids = ids_of(bpe, "word " * 20)
    streamer = TextIteratorStreamer(bpe, timeout=10, every_token=True)
    iterator = iter(streamer)
    thread, fed = run_through(streamer, ids)
    assert "".join(iterator) == bpe.decode(ids)
    del iterator
    gc.collect()
    thread.join(10)
    assert len(fed) == len(ids) - 1


def test_an_error_reaches_the_reader(bpe):
    streamer = TextIteratorStreamer(bpe, timeout=10, every_token=True)
    streamer.put(np.array(ids_of(bpe, "x")))
    streamer.fail(UsageError("no"))
    iterator = iter(streamer)
    assert next(iterator) == "x"
    with pytest.raises(UsageError, match="no"):
        next(iterator)
