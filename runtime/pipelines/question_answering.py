"""question-answering: the part of a context that answers a question, as transformers 4.57.3 finds it; 5 no longer does.

A context that is too long is read in windows that overlap; answers of equal text are one, their scores added.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Self, overload

import numpy as np
from tokenizers import Encoding

from ..errors import UsageError
from ..numerics import Row
from ..processing.text.encodings import stack_encodings
from ..processing.text.spans import Span, best_spans
from .results import Answer
from .shared.base import Parameters, Pipeline
from .shared.pieces import Piece
from .shared.text import with_left_out

EXPECTED = '{"question": ..., "context": ...}'


class Example(NamedTuple):
    """A question and the text that may answer it."""

    question: str
    context: str


class Window(NamedTuple):
    """A part of the context, tokenized with the question; `sequence` says which of the two is the context."""

    context: str
    encoding: Encoding
    sequence: int

    def allowed(self, cls: int | None) -> np.ndarray:
        """Return where an answer may start or end, [tokens]: in the context, or at `cls`, which stands for none."""
        tokens = zip(self.encoding.ids, self.encoding.sequence_ids, self.encoding.attention_mask, strict=True)
        return np.array(
            [bool(seen) and (of == self.sequence or token == cls) for token, of, seen in tokens], dtype=bool
        )

    def answer(self, span: Span, *, by_words: bool) -> dict[str, Any]:
        """Return the span as an answer."""
        start, end = (by_words and self._words(span)) or self._tokens(span)
        return {"score": span.score, "start": start, "end": end, "answer": self.context[start:end]}

    def _tokens(self, span: Span) -> tuple[int, int]:
        """Return where the span starts and ends, in characters of the context."""
        return self.encoding.offsets[span.first][0], self.encoding.offsets[span.last][1]

    def _words(self, span: Span) -> tuple[int, int] | None:
        """Return where the span's first word starts and its last ends; None where a token is of no word."""
        words = [self.encoding.token_to_word(token) for token in (span.first, span.last)]
        spans = [None if word is None else self.encoding.word_to_chars(word, self.sequence) for word in words]
        return None if spans[0] is None or spans[1] is None else (spans[0][0], spans[1][1])


@dataclass(frozen=True)
class QuestionAnsweringParameters(Parameters):
    """None means the default. Lengths count tokens.

    `max_seq_len` (default: 384, or what the tokenizer allows) is a window's length, question included; windows overlap
    by `doc_stride` (default: 128, or half a window). `max_question_len` is accepted for old calls and changes nothing,
    as it did with tokenizers that were not written in Python.
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    padding: bool | str = "do_not_pad"

    def __post_init__(self) -> None:
        for name, least in (("top_k", 1), ("max_answer_len", 1), ("max_seq_len", 1), ("doc_stride", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
                raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")

    def updated(self, task: str, options: Mapping[str, Any]) -> Self:
        """Return the parameters with `options` over them, but for those that are None."""
        known = self.names()
        return super().updated(
            task, {key: value for key, value in options.items() if value is not None or key not in known}
        )


class QuestionAnsweringPipeline(Pipeline[Any, Any]):
    """`(question=, context=, *, top_k=1, ...)` -> `{"score", "start", "end", "answer"}`, or a list of several.

    `start` and `end` count characters of the context. Also takes `{"question", "context"}`, a list or an iterable of
    them, a list of questions with one context, or two lists. As in 4.57.3, a list of one gives its result itself, and
    so does one answer where `top_k` allows more.
    """

    parameters = QuestionAnsweringParameters
    expects = EXPECTED
    reads_ahead: ClassVar[bool] = True

    @overload
    def __call__(self, *, question: str, context: str, top_k: Literal[1] = ..., **options: Any) -> Answer: ...
    @overload
    def __call__(self, inputs: Any = None, *args: Any, **options: Any) -> Any: ...
    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride] - the arguments have names of their own
        self,
        inputs: Any = None,
        *args: Any,
        question: Any = None,
        context: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> Any:
        """Answer one question, a list of them, or lazily any other iterable."""
        if question is not None or context is not None:
            if inputs is not None:
                raise UsageError(f"pass either {EXPECTED} or question= and context=, not both")
            inputs = _paired(question, context)
        elif args:
            inputs = _paired(inputs, *args) if isinstance(inputs, str) and len(args) == 1 else [inputs, *args]
        elif isinstance(inputs, Mapping) and isinstance(inputs.get("question"), (list, tuple)):
            inputs = _paired(inputs["question"], inputs.get("context"))
        return super().__call__(inputs, batch_size=batch_size, **options)

    def is_single(self, inputs: Any) -> bool:
        """Tell whether `inputs` is one question with its context."""
        return isinstance(inputs, (str, Mapping)) or hasattr(inputs, "question_text")

    def pieces(self, item: Any, parameters: QuestionAnsweringParameters) -> Iterator[Piece]:
        """Yield the windows of the context, each with the question."""
        example = _example(item)
        length, stride = self._lengths(example, parameters)
        question_first = self.tokenizer.padding_side == "right"
        encoded = self.tokenizer(
            *(example if question_first else reversed(example)),
            padding=parameters.padding,
            truncation="only_second" if question_first else "only_first",
            max_length=length,
            stride=stride,
        )
        whole = encoded.encodings[0]
        for encoding in (whole, *whole.overflowing):
            rows = stack_encodings([encoding], names=list(encoded))
            window = Window(example.context, encoding, int(question_first))
            yield Piece(with_left_out({name: rows[name][0] for name in rows}, encoding, self), window)

    def result(self, pieces: Sequence[Piece], outputs: Sequence[Row], parameters: QuestionAnsweringParameters) -> Any:
        """Return the best answers of all windows."""
        # Spans of one word become one answer, so more of them are looked at than are asked for.
        count = parameters.top_k * 2 + 10 if parameters.align_to_words else parameters.top_k
        answers: dict[str, dict[str, Any]] = {}
        impossible = []
        for piece, row in zip(pieces, outputs, strict=True):
            window: Window = piece.context
            best = best_spans(
                row["start_logits"],
                row["end_logits"],
                allowed=window.allowed(self.tokenizer.cls_token_id),
                count=count,
                longest=parameters.max_answer_len,
                first_token=window.encoding.attention_mask.index(1),
            )
            impossible.append(best.impossible)
            for span in best.spans:
                _add(answers, window.answer(span, by_words=parameters.align_to_words))
        found = list(answers.values())
        if parameters.handle_impossible_answer:
            found.append({"score": min(impossible, default=0.0), "start": 0, "end": 0, "answer": ""})
        if not found:  # a blank context, or one that no span of the question's length fits
            found.append({"score": 0.0, "start": 0, "end": 0, "answer": ""})
        found = sorted(found, key=lambda answer: answer["score"], reverse=True)[: parameters.top_k]
        return found[0] if len(found) == 1 else found

    def collected(self, results: list[Any], parameters: Any) -> Any:  # noqa: ARG002 - the same for all
        """Return the results; that of a single question by itself."""
        return results[0] if len(results) == 1 else results

    def _lengths(self, example: Example, parameters: QuestionAnsweringParameters) -> tuple[int, int]:
        """Return a window's length and the overlap of two; raise UsageError if the context cannot be cut so."""
        longest = self.tokenizer.model_max_length
        length = parameters.max_seq_len or (384 if longest is None else min(longest, 384))
        stride = min(length // 2, 128) if parameters.doc_stride is None else parameters.doc_stride
        if stride > length:
            raise UsageError(f"doc_stride={stride} is larger than max_seq_len={length}: windows cannot overlap so far")
        room = length - self.tokenizer.num_special_tokens_to_add(pair=True) - self._count(example.question)
        if room <= stride and self._count(example.context) > room:
            raise UsageError(
                f"the question leaves {max(room, 0)} of max_seq_len={length} tokens for the context, and doc_stride="
                f"{stride} of them overlap: shorten the question, lower doc_stride or raise max_seq_len"
            )
        return length, stride

    def _count(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False))


def _paired(question: Any, context: Any) -> Any:
    """Return one question with its context, or a list of them; a context is shared by a list of questions."""
    if isinstance(question, (list, tuple)):
        contexts = [context] * len(question) if isinstance(context, str) else context
        if not isinstance(contexts, (list, tuple)) or len(contexts) != len(question):
            what = f"{len(context)}" if isinstance(context, (list, tuple)) else type(context).__name__
            raise UsageError(f"{len(question)} questions need one context or as many contexts, got {what}")
        return [{"question": each, "context": text} for each, text in zip(question, contexts, strict=True)]
    return {"question": question, "context": context}


def _example(item: Any) -> Example:
    if isinstance(item, Mapping):
        given = Example(item.get("question"), item.get("context"))  # pyright: ignore[reportArgumentType] - checked below
    elif hasattr(item, "question_text") and hasattr(item, "context_text"):
        given = Example(item.question_text, item.context_text)
    else:
        raise UsageError(f"'question-answering' expects {EXPECTED}, got {type(item).__name__}")
    for name, text in zip(given._fields, given, strict=True):
        if not isinstance(text, str) or not text:
            what = "an empty one" if text == "" else "none" if text is None else type(text).__name__
            raise UsageError(f"'{name}' must be a text, got {what}: pass {EXPECTED}")
    return given


def _add(answers: dict[str, dict[str, Any]], answer: dict[str, Any]) -> None:
    """Add an answer, or its score to an equal one's; case does not tell answers apart."""
    known = answers.setdefault(answer["answer"].lower(), answer)
    if known is not answer:
        known["score"] += answer["score"]
