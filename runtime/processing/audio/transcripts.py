"""Whisper's tokens to text with times and languages, as transformers' WhisperTokenizer reads them; runs no model."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..text.vocabulary import Vocabulary
from ..text.words import split_into_words
from .common_sequence import Times, merge_overlaps
from .whisper_languages import LANGUAGES

TIMESTAMP = re.compile(r"<\|(\d+\.\d+)\|>")

_LOG = logging.getLogger("vitrify")


@dataclass(frozen=True)
class ChunkTokens:
    """What the model wrote for one chunk of a recording.

    Attributes
    ----------
    tokens
        The ids, timestamp tokens included, those of the decoder's own prompt not.
    stride
        In seconds: how long the chunk is, and how much of it, left and right, the neighbours tell as well.
    times
        In seconds from the chunk's start, where every token ends; only for words.

    """

    tokens: Sequence[int]
    stride: tuple[float, float, float] | None = None
    times: Sequence[float] | None = None


def decode_text(tokenizer: Vocabulary, ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
    """Return the text of ids, without timestamps."""
    kept = _without_prompt(tokenizer, ids) if skip_special_tokens else list(ids)
    return TIMESTAMP.sub("", tokenizer.decode(kept, skip_special_tokens=skip_special_tokens))


def decode_with_timestamps(
    tokenizer: Vocabulary,
    ids: Sequence[int],
    *,
    skip_special_tokens: bool = False,
    time_precision: float = 0.02,
    segment_size: int = 1500,
) -> str:
    """Return the text of ids with their timestamps in it, such as `<|0.00|> Hello<|1.08|>`.

    Every id after the last special token is a timestamp; times of a later window go on where the one before ended.
    """
    kept = _without_prompt(tokenizer, ids) if skip_special_tokens else list(ids)
    begin = (tokenizer.all_special_ids[-1] or 0) + 1
    clock = _Clock(begin, time_precision, segment_size)
    written: list[str | list[int]] = [[]]
    for index, token in enumerate(kept):
        if token < begin:
            written[-1].append(token)  # pyright: ignore[reportAttributeAccessIssue] - the last one is always a list
            continue
        if clock.tick(kept, index):
            written = written[:-2]
        written += [f"<|{clock.within + clock.before:.2f}|>", []]
    return "".join(
        each if isinstance(each, str) else tokenizer.decode(each, skip_special_tokens=skip_special_tokens)
        for each in written
        if each
    )


def transcript(
    tokenizer: Vocabulary,
    outputs: Sequence[ChunkTokens],
    *,
    return_timestamps: bool | str | None = None,
    return_language: bool | None = None,
    time_precision: float = 0.02,
    segment_size: int = 1500,
) -> dict[str, Any]:
    """Return `{"text"}` of a recording's chunks, with `"chunks"` where times or languages are asked for.

    A chunk is `{"language"?, "timestamp"?: (start, end), "text"}`; `end` is None where the model left the last one
    open. With `return_timestamps="word"` chunks are words. What overlapping chunks both tell is told once.
    """
    reader = _Reader(tokenizer, return_timestamps, time_precision, segment_size)
    for output in outputs:
        reader.read(output)
    reader.finish()
    text = "".join(chunk.text for chunk in reader.chunks)
    if not return_timestamps and not return_language:
        return {"text": text}
    if return_timestamps == "word":
        language = {"language": None} if return_language else {}
        words = [
            {"text": word, "timestamp": times} | (language and {"language": chunk.words_language})
            for chunk in reader.chunks
            for word, times in chunk.words
        ]
        return {"text": text, "chunks": words}
    return {"text": text, "chunks": [chunk.plain(return_timestamps, return_language) for chunk in reader.chunks]}


class _Clock:
    """Where in a recording a timestamp token lies, though every window of a long recording starts at zero again."""

    def __init__(self, begin: int, precision: float, segment_size: int) -> None:
        self.begin = begin
        self.precision = precision
        self.window = precision * segment_size
        self.within = self.previous = self.before = 0.0

    def tick(self, tokens: Sequence[int], index: int) -> bool:
        """Take the timestamp token at `index`; tell whether it repeats the end of the window before."""
        now = float((tokens[index] - self.begin) * self.precision)
        repeats = False
        if now < self.within:  # a next window has started
            if index >= 2 and not (tokens[index - 1] >= self.begin and tokens[index - 2] >= self.begin):
                self.before += self.window  # the one before ended in silence, so it was told to its end
            else:
                self.within = self.previous
                self.before += self.previous
                repeats = True
        self.previous, self.within = self.within, now
        return repeats


@dataclass
class _Chunk:
    language: str | None
    start: float | None = None
    end: float | None = None
    text: str = ""
    words: Sequence[tuple[str, tuple[float, float]]] = ()
    words_language: str | None = None

    def plain(self, timestamps: Any, language: Any) -> dict[str, Any]:
        named = {"language": self.language} if language else {}
        timed = {"timestamp": (self.start, self.end)} if timestamps else {}
        return {**named, **timed, "text": self.text}


class _Reader:
    """The state while tokens are read: closed chunks, the open one, and tokens that wait for a chunk's end."""

    def __init__(self, tokenizer: Vocabulary, timestamps: bool | str | None, precision: float, segment: int) -> None:
        self.tokenizer = tokenizer
        self.timestamps = timestamps
        self.precision = precision
        self.segment = segment
        self.begin = (tokenizer.convert_tokens_to_ids("<|notimestamps|>") or 0) + 1
        self.special = set(tokenizer.all_special_ids)
        self.offset = 0.0
        self.language: str | None = None
        self.chunks: list[_Chunk] = []
        self.chunk = _Chunk(None)
        self.skips = False
        self.waiting: list[list[int]] = []
        self.waiting_times: list[list[Times]] = []
        self.current: list[int] = []
        self.current_times: list[Times] = []

    def read(self, output: ChunkTokens) -> None:
        tokens = _without_prompt(self.tokenizer, output.tokens)
        first, last = self._overlap(tokens, output.stride)
        clock = _Clock(self.begin, self.precision, self.segment)
        self.current, self.current_times = [], []
        for index, token in enumerate(tokens):
            if token in self.special:
                self._read_special(token)
            elif token >= self.begin:
                clock.tick(tokens, index)
                time = (token - self.begin) * self.precision + self.offset + clock.before
                self._read_timestamp(token, round(time, 2), first, last)
            else:
                self._read_text(token, index, output.times)
        if output.stride:
            length, _, right = output.stride
            self.offset += length - right
        if self.current:
            self._wait()
        elif not any(self.waiting):
            self._open()

    def finish(self) -> None:
        if not self.waiting:
            return
        if self.timestamps:
            _LOG.warning("the last chunk has no end: the audio may be cut off in the middle of a word")
        self._close()

    def _overlap(self, tokens: list[int], stride: tuple[float, float, float] | None) -> tuple[float, int | None]:
        """Return the token from which, and that up to which, timestamps count: inside a stride they do not."""
        if not stride:
            return self.begin, None
        length, left, right = stride
        self.offset -= left
        first = left / self.precision + self.begin if left else self.begin
        last = None
        for token in reversed(tokens if right else ()):
            if token >= self.begin:
                # Of those in the right stride all but one are kept back; that one never counts.
                if last is not None and (token - self.begin) * self.precision < length - right:
                    break
                last = token
        return first, last

    def _read_special(self, token: int) -> None:
        language = LANGUAGES.get(self.tokenizer.decode([token])[2:-2])
        if language is None:
            return
        if self.language and language != self.language and not self.timestamps:
            self._wait()
            self._close()
        self.chunk.language = self.language = language

    def _read_timestamp(self, token: int, time: float, first: float, last: int | None) -> None:
        if last and token >= last:
            self.skips = True  # timestamps come in pairs: what this one ends, the next one would start
        elif self.skips or (self.waiting and token < first):
            self.skips = False
        elif self.chunk.start is None:
            self.chunk.start = time
        elif time != self.chunk.start:  # an end that is its own start is a start said twice
            self.chunk.end = time
            self._wait()
            self._close()

    def _read_text(self, token: int, index: int, times: Sequence[float] | None) -> None:
        self.current.append(token)
        if self.timestamps == "word" and times is not None:
            start = times[index - 1] if index else 0.0
            self.current_times.append((round(start + self.offset, 2), round(times[index] + self.offset, 2)))

    def _wait(self) -> None:
        self.waiting.append(self.current)
        self.waiting_times.append(self.current_times)

    def _close(self) -> None:
        words = self.timestamps == "word"
        tokens, times = merge_overlaps(self.waiting, self.waiting_times if words else None)
        self.chunk.text = decode_text(self.tokenizer, tokens)
        if words:
            found = split_into_words(self.tokenizer, tokens, self.language)
            self.chunk.words = [(word, (times[at[0]][0], times[at[-1]][1])) for word, at in found]
            self.chunk.words_language = self.language
        self.chunks.append(self.chunk)
        self._open()

    def _open(self) -> None:
        self.chunk = _Chunk(self.language)
        self.waiting, self.waiting_times, self.current, self.current_times = [], [], [], []


def _without_prompt(tokenizer: Vocabulary, ids: Sequence[int]) -> list[int]:
    """Return ids from the start of the transcript on, where a prompt of previous text stands before it."""
    plain = [int(token) for token in ids]
    if not plain or plain[0] != tokenizer.convert_tokens_to_ids("<|startofprev|>"):
        return plain
    start = tokenizer.convert_tokens_to_ids("<|startoftranscript|>")
    return plain[plain.index(start) :] if start in plain else []
