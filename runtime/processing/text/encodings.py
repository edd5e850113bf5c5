"""What a tokenizer gives back: named integer arrays, and the way from tokens to words and characters."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tokenizers import Encoding

from ...errors import UsageError

FIELDS: Mapping[str, Callable[[Encoding], Any]] = {
    "input_ids": lambda encoding: encoding.ids,
    "token_type_ids": lambda encoding: encoding.type_ids,
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}


class Encodings(dict[str, np.ndarray]):
    """Arrays of int64 by name, `[rows, sequence]` (`offset_mapping` is `[rows, sequence, 2]`, in characters).

    A text that overflowed takes several rows; `overflow_to_sample_mapping`, `[rows]`, says which text a row is of.
    Arrays are attributes too (`encodings.input_ids`). Every method takes a row, as `encodings` numbers them.
    """

    encodings: Sequence[Encoding]

    def __init__(self, arrays: Mapping[str, np.ndarray], *, encodings: Sequence[Encoding]) -> None:
        super().__init__(arrays)
        self.encodings = encodings

    def __getattr__(self, name: str) -> np.ndarray:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no array '{name}' in these encodings (there are: {', '.join(self)})") from None

    def tokens(self, row: int = 0) -> list[str]:
        return self.encodings[row].tokens

    def word_ids(self, row: int = 0) -> list[int | None]:
        """The word that each token is of, counted in its own sequence; None for special tokens and padding."""
        return self.encodings[row].word_ids

    def sequence_ids(self, row: int = 0) -> list[int | None]:
        """0 or 1 for a token of the text or of its pair; None for special tokens and padding."""
        return self.encodings[row].sequence_ids

    def token_to_word(self, row: int, token: int) -> int | None:
        return self.encodings[row].token_to_word(token)

    def token_to_chars(self, row: int, token: int) -> tuple[int, int] | None:
        """Where the token's text starts and ends; None for special tokens."""
        return self.encodings[row].token_to_chars(token)

    def word_to_chars(self, row: int, word: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """Where the word starts and ends in its sequence."""
        return self.encodings[row].word_to_chars(word, sequence_index)

    def word_to_tokens(self, row: int, word: int, sequence_index: int = 0) -> tuple[int, int] | None:
        """The word's first token, and the one after its last."""
        return self.encodings[row].word_to_tokens(word, sequence_index)

    def char_to_token(self, row: int, char: int, sequence_index: int = 0) -> int | None:
        """The token that covers a character; None where none does, as in white space."""
        return self.encodings[row].char_to_token(char, sequence_index)


def stack_encodings(encodings: Sequence[Encoding], *, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named fields of every encoding, one row each, int64.

    UsageError: rows of different lengths, which only padding makes one array.
    """
    lengths = {len(encoding) for encoding in encodings}
    if len(lengths) > 1:
        raise UsageError(
            f"texts of {min(lengths)} to {max(lengths)} tokens do not fit one array: "
            "pass padding=True, or padding='max_length' and truncation=True"
        )
    sequence = lengths.pop() if lengths else 0
    shape = {"offset_mapping": (len(encodings), sequence, 2)}
    return {
        name: np.array([FIELDS[name](encoding) for encoding in encodings], dtype=np.int64).reshape(
            shape.get(name, (len(encodings), sequence))
        )
        for name in names
    }
