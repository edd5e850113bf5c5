"""Text while it is made: streamers that generation feeds with tokens, and that hand on what can no longer change.

A streamer's `put` takes the prompt first, then the new tokens; `end` comes last. When its reader is gone, `put` raises
StreamClosed, which ends generation. It knows a tokenizer's `decode` and nothing else of a model.
"""

import logging
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from queue import Empty
from threading import Condition
from typing import Any, TextIO

import numpy as np

from ..errors import UsageError, VitrifyError
from ..processing.text.vocabulary import CLEAN_UP
from .loop import StreamClosed

_LOG = logging.getLogger("vitrify")
BROKEN = "\ufffd"
# How many tokens are kept to decode the next ones beside, and from how many on the rest is forgotten.
_KEPT, _FORGETS = 8, 32
# Spaces that cleaning up may still remove: all that a spaced ending can begin with. And one that it may give back:
# a stop after a quote takes the space that the quote was to lose.
_SPACED = (*(spaced for spaced, _ in CLEAN_UP), " n ' t")
_UNDECIDED = ("'", *{spaced[:end] for spaced in _SPACED for end in range(1, len(spaced))})
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class StreamTimeout(VitrifyError, TimeoutError, Empty):  # noqa: N818 - reads as what it is
    """No text came within the timeout of an iterating streamer."""

    exit_code = 1


class TextStreamer:
    """Writes the text of one row to a file or a function, word by word as transformers does, or token by token.

    Parameters
    ----------
    tokenizer
        Anything with `decode(ids, *, skip_special_tokens, clean_up_tokenization_spaces)`.
    skip_prompt
        Leave the prompt out.
    to
        A file, or a function that takes a text; standard output by default.
    every_token
        Write all that is certain after each token; else up to the last space, line end or CJK character.
    skip_special_tokens, clean_up_tokenization_spaces
        As `decode` takes them.

    """

    def __init__(
        self,
        tokenizer: Any,
        skip_prompt: bool = False,
        *,
        to: TextIO | Callable[[str], Any] | None = None,
        every_token: bool = False,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.skip_prompt = skip_prompt
        self.every_token = every_token
        self._sink = _sink(to)
        self._decode_options = {
            "skip_special_tokens": skip_special_tokens,
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
        }
        cleans = clean_up_tokenization_spaces
        self._cleans = getattr(tokenizer, "clean_up_tokenization_spaces", False) if cleans is None else cleans
        self._start()

    def _start(self) -> None:
        self._ids: list[int] = []
        self._given = 0  # characters of the ids' text that were handed on
        self._is_prompt = True

    def put(self, value: Any) -> None:
        """Take the prompt's ids, or new ones: a number, [tokens], or [1, tokens].

        StreamClosed: nobody reads any more. UsageError: several rows.
        """
        ids = np.asarray(value)
        if ids.ndim > 1 and len(ids) > 1:
            raise UsageError(f"a text streamer accepts one row at a time, got {len(ids)}: leave batch_size at 1")
        is_prompt, self._is_prompt = self._is_prompt, False
        if is_prompt and self.skip_prompt:
            return
        self._ids.extend(ids.reshape(-1).tolist())
        text = self._decode(self._ids)
        end = self._certain(text)
        if end > self._given:
            new, self._given = text[self._given : end], end
            self._hand_on(new, ended=False)
        if len(self._ids) >= _FORGETS:
            self._forget(text)

    def end(self) -> None:
        """Hand on what was held back, and say that this was all."""
        rest = self._decode(self._ids)[self._given :] if self._ids else ""
        self._start()
        self._hand_on(rest, ended=True)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Take text that will not change; a subclass may do something else with it."""
        self._sink(text, stream_end)

    def _hand_on(self, text: str, *, ended: bool) -> None:
        try:
            self.on_finalized_text(text, stream_end=ended)
        except Exception as error:
            self._start()
            if isinstance(error, StreamClosed):
                raise
            if not isinstance(error, OSError):  # a pipe that is closed is no fault
                _LOG.warning("a streamer's reader failed, so generation ends: %s: %s", type(error).__name__, error)
            raise StreamClosed(f"the reader of a streamer failed: {type(error).__name__}: {error}") from error

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, **self._decode_options)

    def _certain(self, text: str) -> int:
        """Return how many characters of the text may be handed on."""
        if self.every_token:
            whole = text.rstrip(BROKEN)  # a character of which bytes are missing
            held = max((len(tail) for tail in _UNDECIDED if whole.endswith(tail)), default=0) if self._cleans else 0
            return len(whole) - held
        if text.endswith("\n") or (text and _is_cjk(text[-1])):
            return len(text)
        return text.rfind(" ") + 1

    def _forget(self, text: str) -> None:
        """Forget ids that the next ones can be decoded without: a long line must not cost its square."""
        kept = self._ids[-_KEPT:]
        tail = self._decode(kept)
        waiting = len(text) - self._given
        # Bytes cut off from their character would be decoded as others.
        if BROKEN not in tail and text.endswith(tail) and waiting <= len(tail):
            self._ids, self._given = kept, len(tail) - waiting


class TextIteratorStreamer(TextStreamer):
    """An iterator over the text of one row, which another thread generates.

    The thread that generates is given the streamer, the one that reads iterates over it. When the reader leaves its
    loop, closes the streamer or lets it go, generation ends.

    Parameters
    ----------
    timeout
        Seconds to wait for a text, then StreamTimeout; None waits for ever.

    """

    def __init__(
        self,
        tokenizer: Any,
        skip_prompt: bool = False,
        timeout: float | None = None,
        *,
        every_token: bool = False,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
    ) -> None:
        super().__init__(
            tokenizer,
            skip_prompt,
            every_token=every_token,
            skip_special_tokens=skip_special_tokens,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
        )
        self._channel = _Channel(timeout)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Pass the text to the reader."""
        self._channel.send(text, last=stream_end)

    def put(self, value: Any) -> None:
        """Take ids; StreamClosed when the reader is gone, even before there is text for it."""
        self._channel.check()
        super().put(value)

    def fail(self, error: BaseException) -> None:
        """Raise an error of the generating thread where the text is read."""
        self._channel.fail(error)

    def close(self) -> None:
        """Say that nobody reads any more."""
        self._channel.close()

    def __iter__(self) -> Iterator[str]:
        """Return an iterator; when it is closed or let go before its end, the streamer is closed."""
        return _Reader(self._channel)

    def __next__(self) -> str:
        return self._channel.receive()


class _Channel:
    """Texts on their way from one thread to another."""

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._texts: deque[str] = deque()
        self._changed = Condition()
        self._error: BaseException | None = None
        self._ended = self._closed = False

    def check(self) -> None:
        if self._closed:
            raise StreamClosed("the reader of a streamer is gone")

    def send(self, text: str, *, last: bool) -> None:
        if not last:
            self.check()
        with self._changed:
            if text:
                self._texts.append(text)
            self._ended = self._ended or last
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:  # its lock is reentrant: the garbage collector may call this in a thread that holds it
            self._closed = True
            self._changed.notify_all()

    def receive(self) -> str:
        with self._changed:
            ready = self._changed.wait_for(lambda: self._texts or self._ended or self._closed, self._timeout)
            if not ready:
                raise StreamTimeout(f"no text came within {self._timeout} seconds")
            if self._texts and not self._closed:
                return self._texts.popleft()
            if (error := self._error) is not None:
                self._error = None
                raise error
            if not self._closed:
                self._ended = False  # the next generation may use the streamer again
            raise StopIteration


class _Reader:
    """The reader's end of a channel."""

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel
        self._finalizer = weakref.finalize(self, channel.close)
        self._finalizer.atexit = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            return self._channel.receive()
        except StreamTimeout:
            raise
        except BaseException:
            self._finalizer.detach()  # read to its end
            raise

    def close(self) -> None:
        self._finalizer()


def _sink(to: Any) -> Callable[[str, bool], None]:
    """Return what takes a text, and whether it is the last one."""

    def call(text: str, _last: bool) -> None:
        if text:
            to(text)

    def write(text: str, last: bool) -> None:
        file = sys.stdout if to is None else to
        file.write(text + "\n" if last else text)
        file.flush()

    return write if to is None or hasattr(to, "write") else call


def _is_cjk(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _CJK)
