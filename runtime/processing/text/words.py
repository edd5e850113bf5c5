"""Tokens to words, by bytes that make whole characters and by the spaces between them; knows no times."""

import string
from collections.abc import Sequence

from ..audio.whisper_languages import UNSPACED
from .vocabulary import Vocabulary

Word = tuple[str, list[int]]  # its text, and which of the tokens it is made of

BEFORE = "\"'“¡¿([{-"
AFTER = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - full-width marks are meant
_BROKEN = "\ufffd"


def split_into_words(tokenizer: Vocabulary, tokens: Sequence[int], language: str | None) -> list[Word]:
    """Return the words that tokens spell, punctuation kept with the word it belongs to.

    In a language without spaces a word is a character, or a token of several. Source: openai/whisper, timing.py.
    """
    pieces = _split_on_characters(tokenizer, tokens)
    if language not in UNSPACED:
        pieces = _join_on_spaces(tokenizer, pieces, tokens)
    return _append(_prepend(pieces))


def _split_on_characters(tokenizer: Vocabulary, tokens: Sequence[int]) -> list[Word]:
    """Split wherever the tokens so far end in a whole character."""
    full = tokenizer.decode(tokens)
    pieces: list[Word] = []
    current: list[int] = []
    done = 0
    for index in range(len(tokens)):
        current.append(index)
        text = tokenizer.decode([tokens[each] for each in current])
        broken = text.find(_BROKEN)
        # A replacement character that the whole text has there as well is not one that more tokens would mend.
        if broken < 0 or done + broken >= len(full) or full[done + broken] == _BROKEN:
            pieces.append((text, current))
            done += len(text)
            current = []
    return pieces


def _join_on_spaces(tokenizer: Vocabulary, pieces: list[Word], tokens: Sequence[int]) -> list[Word]:
    words: list[Word] = []
    special = tokenizer.eos_token_id
    for text, indices in pieces:
        starts = text.startswith(" ") or text.strip() in string.punctuation
        if starts or not words or (special is not None and tokens[indices[0]] >= special):
            words.append((text, list(indices)))
        else:
            words[-1] = words[-1][0] + text, words[-1][1] + indices
    return words


def _prepend(words: list[Word]) -> list[Word]:
    """Give an opening mark to the word after it."""
    joined: list[Word] = []
    for text, indices in reversed(words):
        if joined and text.startswith(" ") and text.strip() in BEFORE:
            joined[-1] = text + joined[-1][0], indices + joined[-1][1]
        else:
            joined.append((text, indices))
    return joined[::-1]


def _append(words: list[Word]) -> list[Word]:
    """Give a closing mark to the word before it."""
    joined: list[Word] = []
    for text, indices in words:
        if joined and not joined[-1][0].endswith(" ") and text in AFTER:
            joined[-1] = joined[-1][0] + text, joined[-1][1] + indices
        else:
            joined.append((text, indices))
    return [word for word in joined if word[0]]
