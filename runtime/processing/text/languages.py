"""Texts to translate, marked with their language as mBART, M2M100 and NLLB want it; knows no model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ...errors import UsageError

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
        """Return what the export wrote, as `TokenizerConfig` has checked it."""
        return cls(dict(found["codes"]), tuple(found["prefix"]), tuple(found["suffix"]))

    def token(self, code: Any, *, argument: str) -> int:
        """Return the id of a language, which a translation into it begins with."""
        if code is None:
            raise UsageError(f"this model translates between many languages: pass {argument}=…, {self._allowed}")
        if not isinstance(code, str) or code not in self.codes:
            raise UsageError(f"{argument}={code!r}; this model knows {self._allowed}")
        return self.codes[code]

    def around(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids before and after a text in the language `source`, each int64 [tokens]."""
        language = self.token(source, argument="src_lang")
        before, after = (
            np.array([language if item == LANGUAGE else item for item in side], np.int64)
            for side in (self.prefix, self.suffix)
        )
        return before, after

    @property
    def _allowed(self) -> str:
        shown = ", ".join(list(self.codes)[:12])
        return f"{shown}, … ({len(self.codes)} in all)" if len(self.codes) > 12 else shown
