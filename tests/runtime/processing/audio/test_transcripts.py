"""Whisper's tokens as text, against transformers' tokenizer on random streams of tokens."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers.models.whisper import tokenization_whisper as whisper
from transformers.pipelines import automatic_speech_recognition as reference

from tests.tiny_models import CONTROLS, STATES, whisper_tokenizer
from vitrify.runtime.errors import UsageError
from vitrify.runtime.processing.audio.common_sequence import join_overlaps, merge_overlaps
from vitrify.runtime.processing.audio.transcripts import (
    ChunkTokens,
    decode_text,
    decode_with_timestamps,
    transcript,
)
from vitrify.runtime.processing.audio.whisper_languages import language_token
from vitrify.runtime.processing.text.tokenizer import Tokenizer
from vitrify.runtime.processing.text.words import split_into_words

TEXT = "Hello, world! \"Quoted\" (it's) 日本語 wörds and — some more... naïve café 1 2 3 東京。 ' ( ."


@pytest.fixture(scope="module", params=[True, False], ids=["special", "plain"])
def tokenizers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    theirs = whisper_tokenizer(special=request.param)
    theirs.save_pretrained(folder)
    return theirs, Tokenizer.from_folder(folder)


class Stream:
    """Random tokens: words, parts of words, timestamps that mostly grow and, if they are special, control tokens."""

    def __init__(self, tokenizer, seed):
        self.random = random.Random(seed)
        self.text = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
        self.begin = tokenizer.convert_tokens_to_ids("<|notimestamps|>") + 1
        special = set(tokenizer.all_special_ids)
        self.controls = [i for i in tokenizer.convert_tokens_to_ids(list(CONTROLS)) if i in special]

    def draw(self, count):
        found, stamp = [], 0
        for _ in range(count):
            kind = self.random.random()
            if kind < 0.15:
                stamp = min(STATES, stamp + self.random.choice([0, 1, 7, 20]))
                found += [self.begin + stamp] * self.random.choice([1, 2, 2])
            elif kind < 0.18:
                stamp = self.random.randrange(STATES)
                found.append(self.begin + stamp)
            elif kind < 0.22 and self.controls:
                found.append(self.random.choice(self.controls))
            else:
                start = self.random.randrange(len(self.text))
                found += self.text[start : start + self.random.randrange(1, 6)]
        return found or self.text[:1]

    def chunks(self):
        """Return the chunks of a recording, whose neighbours often tell the same."""
        shared, found = self.draw(10), []
        for number in range(self.random.choice([1, 2, 3])):
            tokens = self.draw(self.random.randrange(14))
            if self.random.random() < 0.6:
                tokens = shared[: self.random.randrange(10)] + tokens + shared[-self.random.randrange(1, 10) :]
            left = 0.2 if number else 0.0
            stride = self.random.choice([None, (1.0, left, 0.2), (1.0, left, 0.0)])
            times = sorted(round(self.random.random() * STATES) * 0.02 for _ in tokens)
            found.append(ChunkTokens(tokens, stride, times))
        return found


def read_by_transformers(tokenizer, chunks, **options):
    outputs = [
        {"tokens": torch.tensor([chunk.tokens]), "token_timestamps": torch.tensor([chunk.times], dtype=torch.float64)}
        | ({"stride": chunk.stride} if chunk.stride else {})
        for chunk in chunks
    ]
    text, optional = tokenizer._decode_asr(outputs, time_precision=0.02, **options)
    return {"text": text, **optional}


@pytest.mark.parametrize("return_language", [None, True])
@pytest.mark.parametrize("return_timestamps", [None, True, "word"])
def test_transcripts_are_those_of_transformers(tokenizers, return_timestamps, return_language):
    theirs, ours = tokenizers
    options = {"return_timestamps": return_timestamps, "return_language": return_language}
    for seed in range(120):
        chunks = Stream(theirs, seed).chunks()
        assert transcript(ours, chunks, **options) == read_by_transformers(theirs, chunks, **options), seed


def test_texts_with_timestamps_are_those_of_transformers(tokenizers):
    theirs, ours = tokenizers
    for seed in range(100):
        ids = Stream(theirs, seed).draw(14)
        for skip in (False, True):
            assert decode_text(ours, ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)
            expected = theirs.decode(ids, skip_special_tokens=skip, decode_with_timestamps=True)
            assert decode_with_timestamps(ours, ids, skip_special_tokens=skip) == expected


def test_a_prompt_before_the_transcript_is_left_out(tokenizers):
    theirs, ours = tokenizers
    start, previous = theirs.convert_tokens_to_ids([CONTROLS[0], "<|startofprev|>"])
    text = theirs("said before", add_special_tokens=False)["input_ids"]
    ids = [previous, *text, start, *text]
    assert decode_text(ours, ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)
    assert transcript(ours, [ChunkTokens([previous, *text])])["text"] == ""


@pytest.mark.parametrize("language", [None, "english", "japanese"])
@pytest.mark.parametrize("text", [TEXT, " l'été dort", "語学", "a", ""])
def test_words_are_those_of_transformers(tokenizers, text, language):
    theirs, ours = tokenizers
    tokens = theirs(text, add_special_tokens=False)["input_ids"]
    words, _, indices = whisper._combine_tokens_into_words(theirs, tokens, language)
    assert split_into_words(ours, tokens, language) == list(zip(words, indices, strict=True))


def test_words_keep_their_punctuation(tokenizers):
    theirs, ours = tokenizers
    tokens = theirs(' "Hello," he said (twice).', add_special_tokens=False)["input_ids"]
    found = split_into_words(ours, tokens, "english")
    assert [word for word, _ in found] == [' "Hello,"', " he", " said", " (twice)."]


def test_an_overlap_is_told_once():
    assert merge_overlaps([[1, 2, 3, 4, 5], [4, 5, 6]]) == ([1, 2, 3, 4, 5, 6], [])
    assert merge_overlaps([[1, 2, 3], [7, 8]]) == ([1, 2, 3, 7, 8], [])


def test_plain_overlaps_are_those_of_transformers():
    tokenizer = SimpleNamespace(all_special_ids=[0])
    generator = np.random.default_rng(0)
    for _ in range(200):
        chunks = [generator.integers(0, 4, (1, generator.integers(4, 9))) for _ in range(2)]
        if np.count_nonzero(chunks[0]) < np.count_nonzero(chunks[1]):
            chunks.reverse()  # transformers takes no second chunk that is longer
        expected = reference._find_longest_common_sequence(chunks, tokenizer)
        assert join_overlaps([chunk[0].tolist() for chunk in chunks], special={0}) == expected.tolist()


KNOWN = ("<|en|>", "<|fr|>", "<|de|>", "<|es|>")


@pytest.mark.parametrize("language", ["french", "French", "fr", "<|fr|>"])
def test_a_language_is_a_name_a_code_or_a_token(language):
    assert language_token(language, KNOWN) == "<|fr|>"


def test_a_second_name_of_a_language():
    assert language_token("castilian", KNOWN) == "<|es|>"


@pytest.mark.parametrize(("language", "near"), [("frensh", "french"), ("klingon", "english"), ("japanese", "4 lang")])
def test_an_unknown_language_is_refused_with_near_ones(language, near):
    with pytest.raises(UsageError, match=near):
        language_token(language, KNOWN)
