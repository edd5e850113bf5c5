"""When a row is finished, as functions of transformers 5.23's settings; they know ids and the text of tokens."""

import json
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .base import PADDING, Stop

if TYPE_CHECKING:
    import tokenizers

# No decoder changes text in the middle of a word, so a token after this one has the text that it has within one.
_WORD = "abcdef"
_BYTE_TOKEN = re.compile("<0x([0-9a-fA-F]{2})>")


def max_length(length: int) -> Stop:
    """Stop rows at a number of tokens; the longest prompt counts."""

    def stop(ids: np.ndarray) -> np.ndarray:
        return np.full(len(ids), ids.shape[1] >= length)

    return stop


def max_time(seconds: float) -> Stop:
    """Stop all rows once more than `seconds` have passed since this call."""
    end = time.monotonic() + seconds

    def stop(ids: np.ndarray) -> np.ndarray:
        return np.full(len(ids), time.monotonic() > end)

    return stop


def eos_tokens(tokens: Sequence[int]) -> Stop:
    """Stop rows whose last token is one of `tokens`."""
    ends = [int(token) for token in tokens]

    def stop(ids: np.ndarray) -> np.ndarray:
        last = ids[:, -1]
        found = np.zeros(len(last), bool)
        for end in ends:  # comparing with a few is ten times as fast as np.isin
            found |= last == end
        return found

    return stop


def stop_strings(strings: str | Sequence[str], *, text_of: Callable[[int], bytes]) -> Stop:
    """Stop rows in whose text one of `strings` ends within the last token: at its end or before.

    Parameters
    ----------
    text_of
        From a token to its text in UTF-8, of which it may be a part; see `token_texts`.

    """
    given = [strings] if isinstance(strings, str) else strings
    if not given or not all(isinstance(string, str) and string for string in given):
        raise UsageError(f"stop_strings is {strings!r}; it must be a string or a list of strings, none of them empty")
    wanted = [string.encode() for string in given]
    longest = max(map(len, wanted))

    @cache
    def may_end(token: int) -> bool:
        """Tell whether a string may end in a token: most may not, and need no look at those before."""
        text = text_of(token)
        return any(
            string in text or any(text.startswith(string[-size:]) for size in range(1, len(string)))
            for string in wanted
        )

    def ends_in_last(row: np.ndarray) -> bool:
        last = text_of(int(row[-1]))
        before = b""
        for token in row[-2::-1]:
            if token == PADDING or len(before) >= longest - 1:
                break
            before = text_of(int(token)) + before
        return any(string in before[max(len(before) - len(string) + 1, 0) :] + last for string in wanted)

    def stop(ids: np.ndarray) -> np.ndarray:
        return np.array(
            [may_end(token) and ends_in_last(ids[row]) for row, token in enumerate(ids[:, -1].tolist())], bool
        )

    return stop


def token_texts(tokenizer: "tokenizers.Tokenizer") -> Callable[[int], bytes]:
    """Return what gives the text of a token within a word, in UTF-8; a token of bytes has those, an unknown id none.

    A text is worked out when it is asked for first.
    """
    decoder = tokenizer.decoder
    kinds = _decoder_kinds(decoder)
    alphabet = _byte_alphabet() if "ByteLevel" in kinds and "ByteFallback" not in kinds else {}
    word = tokenizer.encode(_WORD, add_special_tokens=False).tokens

    def decoded(tokens: list[str]) -> str:
        return decoder.decode(tokens) if decoder is not None else " ".join(tokens)

    @cache
    def text_of(token: int) -> bytes:
        piece = tokenizer.id_to_token(token)
        if piece is None:
            return b""
        if alphabet and all(letter in alphabet for letter in piece):
            return bytes(alphabet[letter] for letter in piece)
        byte = _BYTE_TOKEN.fullmatch(piece) if "ByteFallback" in kinds else None
        if byte:
            return bytes([int(byte[1], 16)])
        _, found, text = decoded([*word, piece]).partition(_WORD)
        return (text if found else decoded([piece])).encode()

    return text_of


def any_of(stops: Sequence[Stop]) -> Stop:
    """Return what stops the rows that one of `stops` does."""
    if len(stops) == 1:
        return stops[0]

    def stop(ids: np.ndarray) -> np.ndarray:
        finished = np.zeros(len(ids), bool)
        for each in stops:
            finished |= each(ids)
        return finished

    return stop


def _decoder_kinds(decoder: Any) -> set[str]:
    """Return the types that a decoder is made of."""
    if decoder is None:
        return set()
    kinds: set[str] = set()
    left = [json.loads(decoder.__getstate__())]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            kinds.add(str(part.get("type")))
            left += part.values()
        elif isinstance(part, list):
            left += part
    return kinds


@cache
def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    As GPT-2 has it: printable bytes of Latin-1 stand for themselves, the others are numbered from U+0100.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
