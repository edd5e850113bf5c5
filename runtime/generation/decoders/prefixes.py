"""Prefix reuse: decoders that are kept after a call, for the next one whose prompt begins with what they hold.

It knows no bundle and no config: who keeps decoders says which may go on, and how large they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np

from ..base import Decoding

ENTRIES = 2
# How much the decoders that are kept may hold together, in bytes.
MOST_BYTES = 2**30
# A shorter prefix is not worth it: the first tokens of all prompts are alike.
SHORTEST = 16


def resume(decoding: Decoding, held: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """Make a decoder that holds one row go on with `prompt`; return the tokens that are left to append, at least one.

    `held` are the ids that it holds. What `prompt` has not in common with them is forgotten.
    """
    common = common_length(held, prompt)
    if common < len(held):
        decoding.truncate(common)
    return prompt[common:]


def common_length(held: np.ndarray, prompt: np.ndarray) -> int:
    """Return with how many tokens both begin, less one where that is all of `prompt`."""
    longest = min(len(held), len(prompt) - 1)
    differing = np.flatnonzero(held[:longest] != prompt[:longest])
    return int(differing[0]) if len(differing) else longest


@dataclass(frozen=True)
class _Entry:
    decoding: Decoding
    held: np.ndarray
    size: int


class Prefixes:
    """The decoders of the last calls with the ids that each holds; may be called from several threads.

    A decoder is out of here while it is used, so two calls never share one.
    """

    def __init__(self, *, entries: int = ENTRIES, most_bytes: int = MOST_BYTES, shortest: int = SHORTEST) -> None:
        self._most, self._most_bytes, self._shortest = entries, most_bytes, shortest
        self._entries: list[_Entry] = []  # the latest one last
        self._lock = Lock()

    @property
    def held(self) -> Sequence[np.ndarray]:
        """The ids of every decoder that is here now, the latest last."""
        with self._lock:
            return [entry.held for entry in self._entries]

    def take(self, prompt: np.ndarray) -> tuple[Decoding, np.ndarray] | None:
        """Return the decoder that has most in common with a prompt, and the ids that it holds; None where none has.

        One that holds much more than that goes on as a copy, as its own conversation may go on too.
        """
        with self._lock:
            if not self._entries:
                return None
            common = [common_length(entry.held, prompt) for entry in self._entries]
            place = max(range(len(common)), key=lambda i: (common[i], -len(self._entries[i].held)))
            entry = self._entries[place]
            if common[place] < self._shortest:
                return None
            if 2 * common[place] < len(entry.held):
                return entry.decoding.clone(), entry.held
            del self._entries[place]
            return entry.decoding, entry.held

    def put(self, decoding: Decoding, held: np.ndarray, *, size: int) -> None:
        """Keep a decoder of one row that holds the ids `held`, in about `size` bytes; the oldest ones go.

        So do those that hold no more than its beginning.
        """
        with self._lock:
            self._entries = [each for each in self._entries if not np.array_equal(each.held, held[: len(each.held)])]
            self._entries.append(_Entry(decoding, held.copy(), size))
            while len(self._entries) > self._most or sum(entry.size for entry in self._entries) > self._most_bytes:
                self._entries.pop(0)
