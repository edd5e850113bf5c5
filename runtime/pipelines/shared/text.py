"""What the pipelines that take text share: one text as the graph takes it, and the tokenizer's arguments."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from tokenizers import Encoding

from ...errors import UsageError
from ...graphs.signature import MASK, POOLED
from ...numerics import Row
from ...processing.text.encodings import Encodings
from .base import Each, Parameters, Pipeline, Single

if TYPE_CHECKING:
    from ...loading import LoadedBundle


@dataclass(frozen=True)
class TokenizerParameters(Parameters):
    """The tokenizer's arguments that change what the graph reads; they mean what they mean in transformers."""

    padding: bool | str = False
    truncation: bool | str | None = None
    max_length: int | None = None
    stride: int = 0
    add_special_tokens: bool = True
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None

    def for_tokenizer(self) -> dict[str, Any]:
        """Return the tokenizer's arguments, without those that a task adds."""
        return {name: getattr(self, name) for name in TokenizerParameters.names()}


class TextPipeline(Pipeline[Single, Each]):
    """A task on texts."""

    reads_ahead: ClassVar[bool] = True

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        if self.tokenizer is None:
            raise UsageError(f"'{task}' needs a tokenizer and bundle '{loaded.name}' has none: pass tokenizer=FOLDER")

    def row(self, encoded: Encodings, index: int = 0) -> Row:
        """Return the graph's inputs for one row of an encoding, each [tokens]."""
        ids = encoded["input_ids"][index]
        if not ids.size:
            raise UsageError("a text without a single token cannot be run: leave empty texts out")
        rows = {name: encoded[name][index] for name in self.loaded.model.input_names if name in encoded}
        return with_left_out(rows, encoded.encodings[index], self)

    def text(self, item: Any) -> str:
        """Return the item, which must be a text."""
        if not isinstance(item, str):
            raise UsageError(f"'{self.task}' expects {self.expects}, got {type(item).__name__} {_shown(item)}")
        return item


def with_left_out(row: Row, encoding: Encoding, pipeline: Pipeline) -> Row:
    """Return one row of an encoding with the inputs that its tokenizer leaves out and the graph reads."""
    asked = set(pipeline.loaded.model.input_names) - set(row)
    found: Row = {name: np.ones(len(encoding), np.int64) for name in (MASK, POOLED) if name in asked}
    if "token_type_ids" in asked:
        found["token_type_ids"] = pipeline.tokenizer.segments(encoding)
    return found | row


def _shown(item: Any) -> str:
    text = repr(item)
    return text if len(text) <= 60 else f"{text[:60]}…"
