"""Decoding CTC frames beside transformers' Wav2Vec2CTCTokenizer: text, and the places of characters and words."""

import numpy as np
import pytest
import tokenizers

from tests.parity.speech_subjects import VOCABULARY, ctc_tokenizer
from vitrify.export.processors.ctc_tokenizer import random_frames, write_ctc_tokenizer
from vitrify.runtime.errors import UnsupportedError
from vitrify.runtime.processing.audio.ctc import CTCDecoder, Span, best_path
from vitrify.runtime.processing.text.tokenizer import Tokenizer

IDS = VOCABULARY | {"_": VOCABULARY["<pad>"]}


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Return (ours, transformers')."""
    folder = tmp_path_factory.mktemp("ctc")
    theirs = ctc_tokenizer(folder / "source")
    write_ctc_tokenizer(theirs, folder)
    return CTCDecoder.from_tokenizer(Tokenizer.from_folder(folder)), theirs


def frames(text):
    """Return ids: a letter each, `_` for a blank."""
    return np.array([IDS[letter] for letter in text], np.int64)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HHH_EE_L_LOO", "HELLO"),
        ("__HI__||__YOU__", "HI YOU"),
        ("|_|_A|_|B_|", "A  B"),
        ("A_A", "AA"),
        ("AAA", "A"),
        ("____", ""),
        ("||||", ""),
        ("", ""),
    ],
)
def test_repeats_are_merged_and_blanks_dropped(sides, text, expected):
    ours, theirs = sides
    assert theirs.decode(frames(text)) == expected
    assert ours.text(frames(text)) == expected


def test_places_are_frames(sides):
    ours, _ = sides
    ids = frames("_HHI_||_YY_YOU|")
    assert ours.words(ids) == [Span("HI", 1, 4), Span("YYOU", 8, 14)]
    expected = [("H", 1, 3), ("I", 3, 4), (" ", 5, 7), ("Y", 8, 10), ("Y", 11, 12), ("O", 12, 13), ("U", 13, 14)]
    expected += [(" ", 14, 15)]
    assert ours.characters(ids) == [Span(*item) for item in expected]
    assert {type(span.start) for span in ours.characters(ids)} == {int}


def test_places_are_transformers(sides):
    ours, theirs = sides
    for sequence in random_frames(theirs):
        expected = theirs.decode(sequence, output_char_offsets=True, output_word_offsets=True)
        ids = np.array(sequence)
        assert ours.text(ids) == expected["text"]
        for kind, spans in (("char", ours.characters(ids)), ("word", ours.words(ids))):
            places = [(item[kind], item["start_offset"], item["end_offset"]) for item in expected[f"{kind}_offsets"]]
            assert [(span.text, span.start, span.end) for span in spans] == places


def test_special_tokens_stay_and_numbers_beyond_the_vocabulary_are_unknown(sides):
    ours, theirs = sides
    ids = np.array([1, 5, 3, 99, 6, 2])
    assert ours.text(ids) == theirs.decode(ids) == "<s>E<unk>T</s>"


def test_nothing_has_no_places(sides):
    ours, _ = sides
    for ids in (np.zeros(0, np.int64), frames("___")):
        assert (ours.text(ids), ours.characters(ids), ours.words(ids)) == ("", [], [])


def test_the_best_path_is_the_likeliest_token_of_each_frame():
    logits = np.array([[0.1, 0.2, 0.0], [3.0, -1.0, 2.9]], np.float32)
    assert best_path(logits).tolist() == [1, 0]


def test_a_tokenizer_of_another_kind_is_refused():
    plain = Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")), config=_config())
    with pytest.raises(UnsupportedError, match="no CTC decoder"):
        CTCDecoder.from_tokenizer(plain)


def _config():
    from vitrify.runtime.processing.text.special_tokens import TokenizerConfig

    return TokenizerConfig()
