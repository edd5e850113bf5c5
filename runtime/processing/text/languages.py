"""Texts to translate, marked with their language as mBART, M2M100 and NLLB want it; knows no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ...errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from .tokenizer import Tokenizer

LANGUAGE = "language"
"""Stands in a prefix or a suffix where a text's own language goes."""


@dataclass(frozen=True)
class Languages:
    """The languages of a tokenizer by code, and the ids around a text of one of them."""

    codes: Mapping[str, int]
    prefix: Sequence[int | str]
    suffix: Sequence[int | str]

    @classmethod
    def from_mapping(cls, found: Mapping[str, Any]) -> Self:
        """Read what the export wrote; IntegrityError: malformed."""
        try:
            return cls(dict(found["codes"]), tuple(found["prefix"]), tuple(found["suffix"]))
        except (ValueError, TypeError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise IntegrityError(
                f"tokenizer_config.json does not say its languages ({reason}); export again"
            ) from error

    def token(self, code: Any, *, argument: str) -> int:
        """Return the id of a language, which a translation into it begins with."""
        if code is None:
            raise UsageError(f"this model translates between many languages: pass {argument}=…, {self._allowed}")
        if not isinstance(code, str) or code not in self.codes:
            raise UsageError(f"{argument}={code!r}; this model knows {self._allowed}")
        return self.codes[code]

    def encode(
        self, tokenizer: "Tokenizer", text: str, *, source: str, truncation: bool | str | None = None
    ) -> np.ndarray:
        """Return the ids of a text in the language `source`, int64 [tokens]; cut to what the model takes, if asked."""
        language = self.token(source, argument="src_lang")
        longest = tokenizer.model_max_length
        room = None if longest is None else max(longest - len(self.prefix) - len(self.suffix), 0)
        ids = tokenizer(
            text, add_special_tokens=False, truncation=truncation or False, max_length=room if truncation else None
        )["input_ids"][0]
        sides = [[language if item == LANGUAGE else item for item in side] for side in (self.prefix, self.suffix)]
        return np.concatenate([np.array(sides[0], np.int64), ids, np.array(sides[1], np.int64)])

    @property
    def _allowed(self) -> str:
        shown = ", ".join(list(self.codes)[:12])
        return f"{shown}, … ({len(self.codes)} in all)" if len(self.codes) > 12 else shown
