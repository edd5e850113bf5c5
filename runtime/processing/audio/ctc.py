"""From a CTC model's frames to text, with the place of every character and word; reads no audio and runs nothing.

Graves et al. 2006: the likeliest token of each frame, repeats merged, blanks dropped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ..text.vocabulary import Vocabulary


@dataclass(frozen=True)
class Span:
    """A character or a word, with its first frame and the one after its last."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class CTCDecoder:
    """Decodes frames as transformers' Wav2Vec2CTCTokenizer does; `space` is what `delimiter` becomes in the text."""

    tokenizer: Vocabulary
    tokens: Mapping[int, str]
    blank: str
    delimiter: str
    space: str = " "

    @classmethod
    def from_tokenizer(cls, tokenizer: Vocabulary) -> "CTCDecoder":
        """Read what the tokenizer's own decoder says; raise UnsupportedError where it is none of CTC."""
        steps = _steps(tokenizer)
        ctc = next((step for step in steps if step["type"] == "CTC"), None)
        if ctc is None:
            raise UnsupportedError("the bundle's tokenizer.json has no CTC decoder: export the checkpoint again")
        spaces = [step["content"] for step in steps if step.get("pattern") == {"String": " "}]
        return cls(
            tokenizer=tokenizer,
            tokens={number: token for token, number in tokenizer.get_vocab().items()},
            blank=ctc["pad_token"],
            delimiter=ctc["word_delimiter_token"],
            space=spaces[0] if spaces else " ",
        )

    def text(self, ids: np.ndarray) -> str:
        """Return the text of the frames' tokens, ids [frames]; special tokens other than the blank stay in it."""
        return self.tokenizer.decode(self._known(ids)).strip()

    def characters(self, ids: np.ndarray) -> list[Span]:
        """Return every token of the text of ids [frames], spaces among them."""
        known = self._known(ids)
        if not len(known):
            return []
        starts = np.flatnonzero(np.concatenate([[True], known[1:] != known[:-1]]))
        ends = [*starts[1:].tolist(), len(known)]
        runs = zip(known[starts].tolist(), starts.tolist(), ends, strict=True)
        spans = (Span(self.tokens[number], start, end) for number, start, end in runs)
        return [
            Span(self.space, span.start, span.end) if span.text == self.delimiter else span
            for span in spans
            if span.text != self.blank
        ]

    def words(self, ids: np.ndarray) -> list[Span]:
        """Return the words of ids [frames]: what stands between spaces."""
        runs = groupby(self.characters(ids), key=lambda span: span.text == self.space)
        groups = [list(run) for is_space, run in runs if not is_space]
        return [Span("".join(span.text for span in group), group[0].start, group[-1].end) for group in groups]

    def _known(self, ids: np.ndarray) -> np.ndarray:
        """Return the ids with the unknown token in place of those that are not in the vocabulary, or without them."""
        ids = np.asarray(ids)
        is_known = np.isin(ids, list(self.tokens))
        unknown = self.tokenizer.unk_token_id
        return ids[is_known] if unknown is None else np.where(is_known, ids, unknown)


def best_path(logits: np.ndarray) -> np.ndarray:
    """Return the likeliest token of each frame, int [frames], of logits [frames, vocabulary]."""
    return logits.argmax(axis=-1)


def _steps(tokenizer: Vocabulary) -> Sequence[Mapping[str, Any]]:
    decoder: dict[str, Any] = json.loads(tokenizer.backend.to_str())["decoder"] or {"type": None}
    return decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
