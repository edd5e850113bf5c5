"""text2text-generation, summarization and translation: a text in, what an encoder-decoder answers to it.

Transformers 5 has them no more: they answer as those of 4.57.3 did.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from ..errors import UsageError
from ..generation.config import entries_of
from .results import GeneratedText, Summary, Translation
from .shared.base import Each, Single
from .shared.generation import GenerationParameters, GenerationPipeline
from .shared.pieces import Piece

if TYPE_CHECKING:
    from ..loading import LoadedBundle

_LOG = logging.getLogger("vitrify")


class ReturnType(Enum):
    """What a result holds: ids or a text."""

    TENSORS = 0
    TEXT = 1


@dataclass(frozen=True)
class Text2TextParameters(GenerationParameters):
    """The arguments of transformers' text2text-generation; `return_text` is one of them that changes nothing.

    `return_tensors` only ever says what `return_type` is.
    """

    return_tensors: bool | None = None
    return_text: bool | None = None
    return_type: Any = ReturnType.TEXT
    clean_up_tokenization_spaces: bool = False
    truncation: bool | str | None = None
    stop_sequence: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.stop_sequence, str | None) or self.stop_sequence == "":
            raise UsageError(f"stop_sequence must be a text that is not empty, got {self.stop_sequence!r}")

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them; an explicit `return_type` wins over `return_tensors`."""
        made = super().updated(task, {name: value for name, value in options.items() if name != "return_type"})
        return dataclasses.replace(made, return_type=_return_type(options) or self.return_type)


@dataclass(frozen=True)
class TranslationParameters(Text2TextParameters):
    """The arguments of translation: the languages matter to models that translate between many."""

    src_lang: str | None = None
    tgt_lang: str | None = None


class _Text2TextPipeline(GenerationPipeline[Single, Each]):
    """`(texts, **generation)` -> [{"generated_text"}], `num_return_sequences` of them; a list gives one record a text.

    `return_tensors=True` gives {"generated_token_ids"}: the token that every answer begins with, and the answer.
    """

    parameters = Text2TextParameters
    defaults: ClassVar[Mapping[str, Any]] = {"max_new_tokens": 256, "num_beams": 4}
    returned = "generated"
    """What the keys of a record begin with."""

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=task, **options)
        # What checkpoints such as T5's say of one task: arguments of generation, and what its texts begin with.
        said = (self.config.get("task_specific_params") or {}).get(self.task) or {}
        self.prefix: str = said.get("prefix") or self.config.get("prefix") or ""
        self._said = entries_of(said)

    def pieces(self, item: Any, parameters: Any) -> Iterator[Piece]:
        """Yield the tokens of the text after the task's prefix."""
        ids = self._ids(self.text(item), parameters)
        if not ids.size:
            raise UsageError("a text without a single token cannot be answered: leave empty texts out")
        yield Piece({"input_ids": ids})

    def result(
        self,
        pieces: Sequence[Piece],  # noqa: ARG002 - an answer does not repeat its text
        outputs: Sequence[Any],
        parameters: Any,
    ) -> list[dict[str, Any]]:
        """Return a record for each sequence of the one text."""
        answers = outputs[0]
        extras = answers.extras or [{}] * len(answers.sequences)
        records = (self._record(sequence, parameters) for sequence in answers.sequences)
        return [record | extra for record, extra in zip(records, extras, strict=True)]

    def collected(self, results: list[Any], parameters: Any) -> Any:  # noqa: ARG002 - the same for all
        """Return one record a text, where no text has several."""
        return [result[0] for result in results] if all(len(result) == 1 for result in results) else results

    def arguments(self, parameters: Any) -> dict[str, Any]:
        """Return what generation is asked for; what the checkpoint says of the task comes after what the caller says.

        A `generation_config` of the caller replaces it.
        """
        given = super().arguments(parameters)
        asked = set(parameters.generation)
        # 4.57.3 takes its own number of beams over that of the model's config, whatever its documentation says.
        said = (
            {}
            if parameters.generation.get("generation_config") is not None
            else {"num_beams": self.defaults["num_beams"], **self._said}
        )
        # Of a task's own length 4.57.3 made only the warnings: new tokens win, and their default stands.
        new = {"max_length"} if given.get("max_new_tokens") is not None else set()
        given |= {name: value for name, value in said.items() if name not in asked | new}
        if parameters.stop_sequence is not None:
            given["eos_token_id"] = self._stop(parameters.stop_sequence)
        return given

    def check_lengths(self, tokens: int, *, least: int, most: int) -> None:
        """Log what is odd about a text of so many tokens, where a `max_length` was said."""

    def _run(self, pending: Sequence[tuple[Piece, list[Any]]], parameters: Any) -> None:
        given = self._said | self.arguments(parameters)
        if (most := given.get("max_length")) is not None:
            longest = max(len(piece.feeds["input_ids"]) for piece, _ in pending)
            self.check_lengths(longest, least=given.get("min_length") or 0, most=most)
        super()._run(pending, parameters)

    def _ids(self, text: str, parameters: Any) -> np.ndarray:
        """Return the encoder's tokens [tokens]."""
        return self.tokenizer(self.prefix + text, truncation=parameters.truncation or False)["input_ids"][0]

    def _record(self, sequence: np.ndarray, parameters: Any) -> dict[str, Any]:
        if parameters.return_type is ReturnType.TENSORS:
            return {f"{self.returned}_token_ids": sequence.tolist()}
        text = self.tokenizer.decode(
            sequence,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=parameters.clean_up_tokenization_spaces,
        )
        return {f"{self.returned}_text": text}

    def _stop(self, text: str) -> int:
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if not ids:
            raise UsageError(f"stop_sequence={text!r} has no token: pass a text that the tokenizer knows")
        if len(ids) > 1:
            _LOG.warning("stop_sequence=%r has %d tokens: answers end at the first of them", text, len(ids))
        return ids[0]


class Text2TextGenerationPipeline(_Text2TextPipeline[list[GeneratedText], GeneratedText]):
    """`(texts, **generation)` -> [{"generated_text"}]."""


class SummarizationPipeline(_Text2TextPipeline[list[Summary], Summary]):
    """`(texts, **generation)` -> [{"summary_text"}]."""

    returned = "summary"

    def check_lengths(self, tokens: int, *, least: int, most: int) -> None:
        """Log a length that no summary can have, and one that is longer than the text."""
        if most < least:
            _LOG.warning("min_length=%d is more than max_length=%d", least, most)
        if tokens < most:
            _LOG.warning(
                "max_length=%d is more than the %d tokens of the text: a summary is shorter, pass e.g. max_length=%d",
                most,
                tokens,
                tokens // 2,
            )


class TranslationPipeline(_Text2TextPipeline[list[Translation], Translation]):
    """`(texts, src_lang=…, tgt_lang=…, **generation)` -> [{"translation_text"}].

    The task may name the languages (`translation_en_to_de`). A model of one pair of languages needs none.
    """

    parameters = TranslationParameters
    returned = "translation"

    def __init__(self, loaded: "LoadedBundle", *, task: str, **options: Any) -> None:
        super().__init__(loaded, task=_pair(task, loaded.config.get("task_specific_params") or {}), **options)

    def arguments(self, parameters: Any) -> dict[str, Any]:
        """Return what generation is asked for; an answer begins with its language where the model has several."""
        given = super().arguments(parameters)
        if self.tokenizer.languages is not None:
            target = self._languages(parameters)[1]
            given["forced_bos_token_id"] = self.tokenizer.languages.token(target, argument="tgt_lang")
        return given

    def check_lengths(self, tokens: int, *, least: int, most: int) -> None:  # noqa: ARG002 - of summaries alone
        """Log a text that is almost as long as its translation may be."""
        if tokens > 0.9 * most:
            _LOG.warning("the text has %d tokens and max_length=%d: a translation may not fit, raise it", tokens, most)

    def _ids(self, text: str, parameters: Any) -> np.ndarray:
        languages = self.tokenizer.languages
        if languages is None:
            return super()._ids(text, parameters)
        source = self._languages(parameters)[0]
        return self.tokenizer.encode_marked(text, source=source, truncation=parameters.truncation)

    def _languages(self, parameters: Any) -> tuple[str | None, str | None]:
        """Return the languages that the arguments name, or else the task."""
        if parameters.src_lang is None and parameters.tgt_lang is None and len(parts := self.task.split("_")) == 4:
            return parts[1], parts[3]
        return parameters.src_lang, parameters.tgt_lang


def _pair(task: str, known: Mapping[str, Any]) -> str:
    """Return the pair of languages that a checkpoint names first, where the task names none."""
    pairs = [name for name in known if name.startswith("translation")] if task == "translation" else []
    if pairs:
        _LOG.warning("task 'translation' names no languages: assuming '%s'", pairs[0])
    return pairs[0] if pairs else task


def _return_type(options: Mapping[str, Any]) -> ReturnType | None:
    """Return what the arguments of one call ask for, None where they leave it open."""
    if (kind := options.get("return_type")) is None:
        wish = options.get("return_tensors")
        return None if wish is None else ReturnType.TENSORS if wish else ReturnType.TEXT
    name = kind.upper() if isinstance(kind, str) else getattr(kind, "name", kind)
    for known in ReturnType:
        if name in (known.name, known.value):
            return known
    raise UsageError(f"return_type must be one of {', '.join(known.name for known in ReturnType)}, got {kind!r}")
