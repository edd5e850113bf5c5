"""fill-mask: the likeliest tokens in place of each mask of a text."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..numerics import Row, ranked, softmax
from ..processing.text.arguments import count
from .results import FilledMask
from .shared.base import Parameters
from .shared.pieces import Piece
from .shared.text import TextPipeline, TokenizerParameters

if TYPE_CHECKING:
    from ..loading import LoadedBundle

DEFAULT_TOP_K = 5
_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class FillMaskParameters(Parameters):
    """`top_k=None` is 5; `targets`, a text or several, are the only tokens to score."""

    top_k: int | None = None
    targets: str | Sequence[str] | None = None
    tokenizer_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.top_k is not None:
            count(self.top_k, name="top_k", least=1)
        if not isinstance(self.tokenizer_kwargs, Mapping):
            raise UsageError(f"tokenizer_kwargs must be a dict of arguments, got {self.tokenizer_kwargs!r}")
        self.for_tokenizer()
        if isinstance(self.targets, str) or self.targets is None:
            return
        if not isinstance(self.targets, (list, tuple)) or not all(isinstance(text, str) for text in self.targets):
            raise UsageError(f"targets must be a text or a list of texts, got {self.targets!r}")

    def for_tokenizer(self) -> dict[str, Any]:
        """Return the tokenizer's arguments; raise UsageError for one that it does not take."""
        return TokenizerParameters().updated("tokenizer_kwargs", self.tokenizer_kwargs).for_tokenizer()


@dataclass(frozen=True)
class Wanted:
    """What one call asks for: `targets` are the only ids to score, None means all."""

    top_k: int
    targets: np.ndarray | None
    tokenizer: Mapping[str, Any]


class FillMaskPipeline(TextPipeline[list[FilledMask], Any]):
    """`(texts, *, top_k=5, targets=None, tokenizer_kwargs={})` -> [{"score", "token", "token_str", "sequence"}].

    Best first; one such list for each mask where a text has several. A list of one text gives that text's result
    itself, as in transformers.
    """

    parameters = FillMaskParameters

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        if self.tokenizer.mask_token_id is None:
            raise UsageError(f"'{task}' needs a mask token and this tokenizer has none: set tokenizer.mask_token")

    def arranged(self, inputs: Any, parameters: FillMaskParameters) -> tuple[Any, Wanted]:
        """Look the targets up, once for all inputs."""
        targets = None if parameters.targets is None else self._target_ids(parameters.targets)
        top_k = DEFAULT_TOP_K if parameters.top_k is None else parameters.top_k
        if targets is not None:
            top_k = min(top_k, len(targets))
        return inputs, Wanted(top_k, targets, parameters.for_tokenizer())

    def pieces(self, item: Any, parameters: Wanted) -> Iterator[Piece]:
        """Yield the text's tokens; raise UsageError where none of them is a mask."""
        encoded = self.tokenizer(self.text(item), **parameters.tokenizer)
        ids = encoded["input_ids"][0]
        if self.tokenizer.mask_token_id not in ids:
            raise UsageError(f"no mask token in the text: write {self.tokenizer.mask_token} where a token is missing")
        yield Piece(self.row(encoded), ids)

    def kept(self, piece: Piece, row: Row, parameters: Wanted) -> np.ndarray:  # noqa: ARG002 - the same for all
        """Return the logits of the masks, [masks, vocabulary]: those of every token take megabytes."""
        return row["logits"][self._masks(piece)]

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Any], parameters: Wanted) -> Any:
        """Return the fillings of each mask, or of the only one."""
        ids, masks = pieces[0].context, self._masks(pieces[0])
        scores = softmax(outputs[0].astype(np.float32))
        rows = [
            [self._filling(ids, mask, token, score, alone=len(masks) == 1) for token, score in best(row, parameters)]
            for mask, row in zip(masks, scores, strict=True)
        ]
        return rows[0] if len(rows) == 1 else rows

    def collected(self, results: list[Any], parameters: Any) -> Any:  # noqa: ARG002 - the same for all
        """Return the results of a list; a list of one is taken as its text."""
        return results[0] if len(results) == 1 else results

    def _masks(self, piece: Piece) -> list[int]:
        """Return where the text has masks."""
        return np.flatnonzero(piece.context == self.tokenizer.mask_token_id).tolist()

    def _filling(self, ids: np.ndarray, mask: int, token: int, score: float, *, alone: bool) -> dict[str, Any]:
        filled = ids.copy()
        filled[mask] = token
        # Special tokens stay where other masks would go with them.
        sequence = self.tokenizer.decode(filled[filled != self.tokenizer.pad_token_id], skip_special_tokens=alone)
        return {"score": score, "token": token, "token_str": self.tokenizer.decode([token]), "sequence": sequence}

    def _target_ids(self, targets: str | Sequence[str]) -> np.ndarray:
        texts = [targets] if isinstance(targets, str) else targets
        found = dict.fromkeys(number for text in texts if (number := self._target_id(text)) is not None)
        if not found:
            raise UsageError(f"targets must contain at least one text with a token, got {targets!r}")
        return np.array(list(found))

    def _target_id(self, text: str) -> int | None:
        """Return the token that `text` is, or else begins with; None for a text without tokens."""
        number = self.tokenizer.backend.token_to_id(text)
        if number is not None:
            return number
        ids = self.tokenizer(text, add_special_tokens=False, max_length=1, truncation=True)["input_ids"][0].tolist()
        taken = f"its first token {self.tokenizer.convert_ids_to_tokens(ids[0])!r} is used" if ids else "it is left out"
        _LOG.warning("target %r is not one token of the vocabulary: %s", text, taken)
        return ids[0] if ids else None


def best(scores: np.ndarray, wanted: Wanted) -> Iterator[tuple[int, float]]:
    """Yield the best tokens with their scores, from scores [vocabulary]; raise UsageError where there are too few."""
    candidates = scores if wanted.targets is None else scores[wanted.targets]
    if wanted.top_k > len(candidates):
        raise UsageError(f"top_k must be at most {len(candidates)}, the size of the vocabulary, got {wanted.top_k}")
    for index in ranked(candidates, wanted.top_k):
        yield index if wanted.targets is None else int(wanted.targets[index]), float(candidates[index])
