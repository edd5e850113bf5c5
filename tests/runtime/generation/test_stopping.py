"""Stopping criteria against transformers' classes; stop strings on tokenizers of several kinds."""

import itertools
import random
from functools import cache

import numpy as np
import pytest
import torch
from transformers.generation import stopping_criteria as oracle

from tests.runtime.generation.scores import drawn_ids
from tests.tokenizers_tiny import SENTENCES, Recipe, tiny_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.generation import stopping
from vitrify.runtime.generation.base import PADDING


@pytest.mark.parametrize("length", [1, 4, 5, 6])
def test_max_length(length):
    ids = drawn_ids(length)
    expected = oracle.MaxLengthCriteria(5)(torch.tensor(ids), None)
    found = stopping.max_length(5)(ids)
    assert found.dtype == bool
    assert found.tolist() == expected.tolist()


def test_max_time(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    stop = stopping.max_time(2.5)
    found = []
    for now[0] in (100.0, 102.5, 102.6):
        found.append(stop(drawn_ids(3)).tolist())
    assert found == [[False] * 3, [False] * 3, [True] * 3]


@pytest.mark.parametrize("tokens", [[5], [3, 7, 9], []])
def test_eos_tokens(tokens):
    ids = drawn_ids(6, rows=30)
    expected = oracle.EosTokenCriteria(tokens)(torch.tensor(ids), None)
    found = stopping.eos_tokens(tokens)(ids)
    assert found.tolist() == expected.tolist()
    assert found.any() == bool(tokens)


def test_any_of():
    ids = drawn_ids(6, rows=30)
    stops = [stopping.eos_tokens([5]), stopping.eos_tokens([7]), stopping.max_length(9)]
    assert stopping.any_of(stops)(ids).tolist() == np.isin(ids[:, -1], [5, 7]).tolist()
    assert stopping.any_of(stops[:1])(ids).tolist() == (ids[:, -1] == 5).tolist()
    assert stopping.any_of([])(ids).tolist() == [False] * 30


KINDS = {
    "byte-bpe": Recipe(
        "PreTrainedTokenizerFast",
        "byte-bpe",
        first=("<pad>", "<|end|>"),
        template={"single": "$A", "pair": "$A $B", "tokens": []},
    ),
    "sentencepiece-bpe": Recipe("LlamaTokenizerFast", "sentencepiece-bpe", first=("<unk>", "<s>", "</s>")),
    "wordpiece": Recipe("BertTokenizerFast", "wordpiece", first=("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")),
    "unigram": Recipe("T5TokenizerFast", "unigram", first=("<pad>", "</s>", "<unk>")),
}
STRINGS = [
    "stop",
    " the",
    "e s",
    "\n\n",
    "ß f",
    "é",
    "首都",
    "😀",
    "a",
    ".",
    " ",
    "<|end|>",
    "</s>",
    "ing for a course",
]


@cache
def tokenizer_of(kind):
    return tiny_tokenizer(KINDS[kind], model_max_length=64)


def text_of(kind):
    return stopping.token_texts(tokenizer_of(kind).backend_tokenizer)


def sequences(kind):
    """Return rows of real text, cut anywhere, and of random tokens."""
    tokenizer = tokenizer_of(kind)
    generator = random.Random(0)
    ends = tokenizer.convert_tokens_to_ids(list(KINDS[kind].first))
    rows = [tokenizer(text + " stop it", add_special_tokens=False)["input_ids"] for text in SENTENCES]
    rows = [row[:end] for row in rows for end in range(1, len(row), 3)]
    rows += [[*row, generator.choice(ends)] for row in rows[::4]]
    rows += [generator.choices(range(len(tokenizer)), k=generator.randint(1, 9)) for _ in range(200)]
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_the_texts_of_tokens(kind):
    tokenizer = tokenizer_of(kind)
    mode = oracle.StopStringCriteria._get_stop_string_matching_mode(tokenizer)
    texts, tokens = oracle.StopStringCriteria.clean_tokenizer_vocab(tokenizer, stop_string_matching_mode=mode)
    pairs = zip(tokens, texts, strict=True)
    expected = {token: text if isinstance(text, bytes) else text.encode() for token, text in pairs}
    assert len(expected) > 200
    assert {token: text_of(kind)(token) for token in expected} == expected
    assert text_of(kind)(99_999) == b""


@pytest.mark.parametrize("kind", KINDS)
def test_stop_strings(kind):
    """One by one, as a stop string that is found hides what others say of a row."""
    by_length = itertools.groupby(sorted(sequences(kind), key=len), key=len)
    batches = [np.array(list(rows)) for _, rows in by_length]
    hits = 0
    for string in STRINGS:
        try:
            theirs = oracle.StopStringCriteria(tokenizer_of(kind), [string])
        except ValueError:  # no token of the vocabulary ends it
            continue
        stop = stopping.stop_strings(string, text_of=text_of(kind))
        for ids in batches:
            expected = theirs(torch.tensor(ids), None).tolist()
            assert stop(ids).tolist() == expected, string
            hits += sum(expected)
    assert hits > 50


def test_several_stop_strings_and_ragged_rows():
    rows = sequences("byte-bpe")
    width = max(map(len, rows))
    ids = np.array([[PADDING] * (width - len(row)) + row for row in rows])
    theirs = oracle.StopStringCriteria(tokenizer_of("byte-bpe"), STRINGS)
    expected = [theirs(torch.tensor([row]), None).item() for row in rows]
    found = stopping.stop_strings(STRINGS, text_of=text_of("byte-bpe"))(ids)
    assert found.tolist() == expected
    assert 0 < sum(expected) < len(rows)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["st", "op"], True),
        (["stop"], True),
        (["st", "opera"], True),
        (["sto", "pper"], True),
        (["las", "topper"], True),
        (["s", "to", "pped"], True),
        (["un", "", "st", "", "op"], True),
        (["nonstopping"], True),
        (["stop", "at"], False),
        (["st", "op", "at"], False),
        (["st", "opera", "tion"], False),
        (["stop", ""], False),
        (["op"], False),
        (["s", "op"], False),
        (["st", "o"], False),
    ],
)
def test_a_stop_string_must_end_in_the_last_token(pieces, expected):
    texts = [piece.encode() for piece in pieces]
    stop = stopping.stop_strings(["stop"], text_of=texts.__getitem__)
    assert stop(np.arange(len(pieces))[None]).tolist() == [expected]


def test_every_way_to_cut_a_text():
    text = "aabab"
    for cuts in itertools.product([False, True], repeat=len(text) - 1):
        pieces = "".join(letter + "|" * cut for letter, cut in zip(text, [*cuts, False], strict=True)).split("|")
        for string in ("b", "ab", "aab", "abab", "ba", "aa", "aabab", "xaabab"):
            last_start = len(text) - len(pieces[-1])
            ends = [at + len(string) for at in range(len(text)) if text.startswith(string, at)]
            stop = stopping.stop_strings(string, text_of=[piece.encode() for piece in pieces].__getitem__)
            assert stop(np.arange(len(pieces))[None]).tolist() == [any(end > last_start for end in ends)]


@pytest.mark.parametrize("strings", ["", [], [""], ["a", ""], ["a", 5]])
def test_stop_strings_that_cannot_be_right(strings):
    with pytest.raises(UsageError, match="stop_strings is"):
        stopping.stop_strings(strings, text_of=lambda _: b"")
