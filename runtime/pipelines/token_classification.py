"""token-classification: a label for each token of a text, or entities of neighbouring words with one label."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from ..numerics import Row, softmax
from ..processing.text.arguments import count
from ..processing.text.encodings import Encodings
from ..processing.text.entities import STRATEGIES, WORD_STRATEGIES, Naming, Token, entities_of, without_overlaps
from .results import Entity
from .shared.base import Parameters, chosen
from .shared.pieces import Piece
from .shared.text import TextPipeline

if TYPE_CHECKING:
    from ..loading import LoadedBundle

Offsets = Sequence[Sequence[int]]
_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class TokenClassificationParameters(Parameters):
    """`ignore_labels=None` is ["O"]; `aggregation_strategy=None` is "none".

    With `stride`, a text that is too long is read in windows that share so many tokens; without, it is cut.
    With `is_split_into_words`, a text is a list of words, and places count characters of these joined by `delimiter`.
    `offset_mapping` replaces the tokenizer's: (start, end) for each token of the text, or a list of these per text.
    """

    aggregation_strategy: str | None = None
    ignore_labels: Sequence[str] | None = None
    stride: int | None = None
    offset_mapping: Offsets | Sequence[Offsets] | None = None
    is_split_into_words: bool = False
    delimiter: str | None = None

    def __post_init__(self) -> None:
        ignored = self.ignore_labels
        if ignored is not None and (isinstance(ignored, str) or not isinstance(ignored, Sequence)):
            raise UsageError(f"ignore_labels must be a list of labels, got {ignored!r}")
        if not isinstance(self.is_split_into_words, bool):
            raise UsageError(f"is_split_into_words must be True or False, got {self.is_split_into_words!r}")
        if self.delimiter is not None and not isinstance(self.delimiter, str):
            raise UsageError(f"delimiter must be a text, got {self.delimiter!r}")
        self._check_stride()

    @property
    def strategy(self) -> str:
        """The aggregation strategy."""
        return chosen("aggregation_strategy", self.aggregation_strategy or "none", {name: name for name in STRATEGIES})

    @property
    def ignored(self) -> Sequence[str]:
        """The labels to leave out."""
        return ("O",) if self.ignore_labels is None else self.ignore_labels

    def _check_stride(self) -> None:
        plain = self.strategy == "none"
        if self.stride is None:
            return
        count(self.stride, name="stride")
        if plain and self.aggregation_strategy is not None:
            raise UsageError("stride merges entities, aggregation_strategy='none' has none: use 'simple' or another")
        if self.offset_mapping is not None:
            raise UsageError("offset_mapping is for a text read whole: leave out stride, or offset_mapping")


@dataclass(frozen=True)
class Sentence:
    """A text, or a list of words, with its tokens' places where the caller gave them."""

    text: Any
    offsets: Offsets | None = None


@dataclass(frozen=True)
class Window:
    """The tokens of a text that run together; `offsets` are places in the text."""

    text: str
    ids: Sequence[int]
    special: Sequence[int]
    offsets: Offsets


class TokenClassificationPipeline(TextPipeline[list[Entity], list[Entity]]):
    """`(texts, *, aggregation_strategy="none", ignore_labels=["O"], stride=None, ...)` -> entities of each text.

    A token is {"entity", "score", "index", "word", "start", "end"}, an entity {"entity_group", "score", "word",
    "start", "end"}; places count characters of the text.
    """

    parameters = TokenClassificationParameters

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        strategy = self.options.strategy
        if strategy in WORD_STRATEGIES and not self._marks_words:
            _LOG.warning("this tokenizer does not mark words: '%s' assumes that they end at spaces", strategy)

    def arranged(self, inputs: Any, parameters: TokenClassificationParameters) -> tuple[Any, Any]:
        """Take a list of words as a list of one text, and put given offsets beside their texts."""
        self._check_stride(parameters)
        batch = isinstance(inputs, (list, tuple))
        if parameters.is_split_into_words and batch and not all(isinstance(words, (list, tuple)) for words in inputs):
            inputs = [inputs]
        if parameters.offset_mapping is not None:
            inputs = _with_offsets(inputs, parameters.offset_mapping)
        return inputs, parameters

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one text."""
        return isinstance(inputs, (str, Sentence))

    def pieces(self, item: Any, parameters: TokenClassificationParameters) -> Iterator[Piece]:
        """Yield the text's windows, or the one that it is cut to; none for a text without tokens."""
        sentence = item if isinstance(item, Sentence) else Sentence(item)
        text, starts = self._joined(sentence.text, parameters)
        overlap = {"return_overflowing_tokens": True, "padding": True, "stride": parameters.stride}
        encoded = self.tokenizer(
            text if starts is None else list(sentence.text),
            truncation=True,
            is_split_into_words=starts is not None,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            **(overlap if parameters.stride is not None else {}),
        )
        for index, ids in enumerate(encoded["input_ids"]):
            if ids.size:
                offsets = _places(encoded, index, starts, sentence.offsets)
                special = encoded["special_tokens_mask"][index].tolist()
                yield Piece(self.row(encoded, index), Window(text, ids.tolist(), special, offsets))

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: TokenClassificationParameters) -> Any:
        """Return the entities of every window; where there are several, of overlapping ones the longest."""
        labels = {index: str(label) for index, label in self.config["id2label"].items()}
        naming = Naming(labels, self.tokenizer.convert_tokens_to_string)
        entities = [
            entity
            for piece, output in zip(pieces, outputs, strict=True)
            for entity in entities_of(self._tokens(piece.context, output["logits"]), parameters.strategy, naming)
            if entity.get("entity", entity.get("entity_group")) not in parameters.ignored
        ]
        return without_overlaps(entities) if len(pieces) > 1 else entities

    def _check_stride(self, parameters: TokenClassificationParameters) -> None:
        longest = self.tokenizer.model_max_length
        if parameters.stride is not None and longest is not None and parameters.stride >= longest:
            raise UsageError(f"stride must be less than {longest}, the tokens of a window, got {parameters.stride}")

    @property
    def _marks_words(self) -> bool:
        """Whether the tokenizer marks tokens that continue a word, as WordPiece does with ##."""
        return bool(getattr(self.tokenizer.backend.model, "continuing_subword_prefix", None))

    def _joined(self, text: Any, parameters: TokenClassificationParameters) -> tuple[str, list[int] | None]:
        """Return the text and, if it came in words, where each of them starts."""
        if not parameters.is_split_into_words:
            return self.text(text), None
        if not isinstance(text, (list, tuple)) or not all(isinstance(word, str) for word in text):
            raise UsageError(f"with is_split_into_words a text is a list of words, got {type(text).__name__}")
        delimiter = " " if parameters.delimiter is None else parameters.delimiter
        lengths = [len(word) + len(delimiter) for word in text]
        return delimiter.join(text), np.cumsum([0, *lengths]).tolist()

    def _tokens(self, window: Window, logits: np.ndarray) -> list[Token]:
        """Return the tokens that are not special, with their scores from logits [tokens, labels]."""
        scores = softmax(logits.astype(np.float32))
        marks_words = self._marks_words
        return [
            self._token(window, index, scores[index], marks_words)
            for index, special in enumerate(window.special)
            if not special
        ]

    def _token(self, window: Window, index: int, scores: np.ndarray, marks_words: bool) -> Token:
        start, end = window.offsets[index]
        text, written = self.tokenizer.convert_ids_to_tokens(window.ids[index]), window.text[start:end]
        if window.ids[index] == self.tokenizer.unk_token_id:
            return Token(written, scores, start, end, index, continues=False)
        if marks_words:
            continues = len(text) != len(written)
        else:
            continues = start > 0 and " " not in window.text[start - 1 : start + 1]
        return Token(text, scores, start, end, index, continues)


def _places(encoded: Encodings, row: int, starts: list[int] | None, given: Offsets | None) -> Offsets:
    """Return where each token of a row stands in the text; tokenizers count within a word where words were given."""
    offsets = encoded["offset_mapping"][row].tolist() if given is None else given
    if len(offsets) < encoded["input_ids"].shape[1]:
        raise UsageError(f"offset_mapping has {len(offsets)} places for {encoded['input_ids'].shape[1]} tokens")
    if starts is None:
        return offsets
    shifts = [0 if word is None else starts[word] for word in encoded.word_ids(row)]
    return [(start + shift, end + shift) for (start, end), shift in zip(offsets, shifts, strict=False)]


def _with_offsets(inputs: Any, mapping: Any) -> Any:
    """Return each text with its offsets; `mapping` is those of one text, or a list with those of each."""
    try:
        mappings = [mapping] if isinstance(mapping[0][0], int) else list(mapping)
    except (TypeError, LookupError):
        raise UsageError(f"offset_mapping must be a list of (start, end), or one per text, got {mapping!r}") from None
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, (list, tuple)) or len(texts) != len(mappings):
        raise UsageError(f"offset_mapping is for {len(mappings)} texts: pass a list of as many")
    sentences = [Sentence(text, offsets) for text, offsets in zip(texts, mappings, strict=True)]
    return sentences[0] if isinstance(inputs, str) else sentences
