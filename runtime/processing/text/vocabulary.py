"""A tokenizer's vocabulary and the way back from ids to text, on `tokenizers` alone; encodes nothing."""

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, overload

import numpy as np
import tokenizers

from ...errors import UsageError
from .special_tokens import NAMED, SpecialToken, SpecialTokenId, TokenizerConfig

Ids = int | Sequence[int] | np.ndarray

# The spaces that WordPiece puts before punctuation and English contractions, as transformers removes them.
CLEAN_UP = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"))
CLEAN_UP += tuple((f" {ending}", ending) for ending in ("n't", "'m", "'s", "'ve", "'re"))


class Vocabulary:
    """Tokens and their numbers; special tokens (`pad_token`, `pad_token_id`, …: None where absent) may be set."""

    bos_token, bos_token_id = SpecialToken(), SpecialTokenId()
    eos_token, eos_token_id = SpecialToken(), SpecialTokenId()
    unk_token, unk_token_id = SpecialToken(), SpecialTokenId()
    sep_token, sep_token_id = SpecialToken(), SpecialTokenId()
    pad_token, pad_token_id = SpecialToken(), SpecialTokenId()
    cls_token, cls_token_id = SpecialToken(), SpecialTokenId()
    mask_token, mask_token_id = SpecialToken(), SpecialTokenId()

    def __init__(self, backend: tokenizers.Tokenizer, *, config: TokenizerConfig) -> None:
        self.backend = backend
        self.special_tokens = dict(config.special_tokens)
        self.extra_special_tokens = config.extra_special_tokens
        self.clean_up_tokenization_spaces = config.clean_up_tokenization_spaces
        # Cleaning was made for WordPiece; in BPE's text it removes spaces that were there.
        self._may_clean_up = config.clean_up_bpe or not isinstance(backend.model, tokenizers.models.BPE)
        self._lock = Lock()  # older tokenizers refuse to decode in one thread while another changes a setting

    @property
    def vocab_size(self) -> int:
        """Tokens without the added ones; `len()` counts them too."""
        return self.backend.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend.get_vocab_size(with_added_tokens=True)

    def __bool__(self) -> bool:
        return True

    @property
    def is_fast(self) -> bool:
        """Always True: it is backed by the library `tokenizers`."""
        return True

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The special tokens by name, those that there are: a copy."""
        return {name: self.special_tokens[name] for name in NAMED if name in self.special_tokens}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()

    @property
    def all_special_tokens(self) -> list[str]:
        others = (token for name, token in self.special_tokens.items() if name not in NAMED)
        named = (self.special_tokens[name] for name in NAMED if name in self.special_tokens)
        return list(dict.fromkeys((*named, *others, *self.extra_special_tokens)))

    @property
    def all_special_ids(self) -> list[int | None]:
        return self.convert_tokens_to_ids(self.all_special_tokens)

    def get_vocab(self) -> dict[str, int]:
        return self.backend.get_vocab(with_added_tokens=True)

    def decode(
        self, ids: Ids, skip_special_tokens: bool = False, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        """The text of one sequence of ids `[sequence]`; `batch_decode` takes several."""
        with self._lock:
            text = self.backend.decode(_plain_ids(ids), skip_special_tokens=skip_special_tokens)
        cleans = clean_up_tokenization_spaces
        if (self.clean_up_tokenization_spaces if cleans is None else cleans) and self._may_clean_up:
            for spaced, closed in CLEAN_UP:
                text = text.replace(spaced, closed)
        return text

    def batch_decode(
        self,
        sequences: Iterable[Ids],
        *,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> list[str]:
        return [
            self.decode(
                ids,
                skip_special_tokens=skip_special_tokens,
                clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            )
            for ids in sequences
        ]

    @overload
    def convert_ids_to_tokens(self, ids: int, *, skip_special_tokens: bool = ...) -> str | None: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Sequence[int] | np.ndarray, *, skip_special_tokens: bool = ...
    ) -> list[str | None]: ...
    def convert_ids_to_tokens(self, ids: Ids, *, skip_special_tokens: bool = False) -> str | list[str | None] | None:
        """The token, or tokens, of these ids; None for a number that is not in the vocabulary."""
        plain = _plain_ids(ids)
        if np.ndim(ids) == 0:
            return self.backend.id_to_token(plain[0])
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        return [self.backend.id_to_token(number) for number in plain if number not in skipped]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int | None: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int | None]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int | None] | None:
        """The number, or numbers, of these tokens: `unk_token_id` for one that is not in the vocabulary."""
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        number = self.backend.token_to_id(tokens)
        return self.unk_token_id if number is None and tokens != self.unk_token else number

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        decoder = self.backend.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))


def _plain_ids(ids: Any) -> list[int]:
    try:
        numbers = np.atleast_1d(np.asarray(ids))
        is_right = numbers.ndim == 1 and (numbers.size == 0 or numbers.dtype.kind in "iu")
    except ValueError:  # ragged
        is_right, numbers = False, np.empty(0)
    if not is_right:
        raise UsageError(
            "ids must be an int or one sequence of ints [sequence]; batch_decode accepts several sequences"
        )
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) < 2**32:
        raise UsageError(f"ids must lie between 0 and 2**32 - 1, got {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.int64).tolist()
