"""How much a server takes on: what may wait, how large a request may be, and how long it may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..runtime.errors import UsageError

# Arguments that ask for memory: of a row for each input and each of them, and of a token for each.
_ROWS = ("num_beams", "num_return_sequences")
_TOKENS = ("max_length", "max_seq_len", "pad_to_multiple_of", "max_new_tokens", "min_length", "min_new_tokens")
_TOKENS += ("max_cache_len", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size")


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Attributes
    ----------
    requests
        How many requests may be under way; one more is told to come again (429).
    tokens
        How many tokens may wait for the graphs; beyond, requests are told to come again (429).
    body
        Bytes of a request.
    items
        Texts, images or recordings of one request.
    characters
        Characters of one text, and tokens that a text may be padded or cut to.
    sequences
        Beams, or sequences to return, for all inputs of one request.
    seconds
        What a request may take from its first byte to its answer (504); it may ask for less.
    reading
        Seconds in which a client must have sent its request (408).

    """

    requests: int = 256
    tokens: int = 65_536
    body: int = 32 * 2**20
    items: int = 2048
    characters: int = 1_000_000
    sequences: int = 256
    seconds: float = 60.0
    reading: float = 20.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise UsageError(f"{name} must be more than 0, got {value!r}")

    def check_count(self, count: int) -> None:
        """Raise UsageError for a request of too many inputs."""
        if count > self.items:
            raise UsageError(f"the request has {count} inputs, at most {self.items} are allowed: send several requests")

    def check_texts(self, value: object) -> None:
        """Raise UsageError where a text in a request's content is too long; it looks into lists and objects."""
        pending = [value]
        while pending:
            each = pending.pop()
            if isinstance(each, str) and len(each) > self.characters:
                raise UsageError(f"a text has {len(each)} characters, at most {self.characters} are allowed")
            if isinstance(each, Mapping):
                pending.extend([*each, *each.values()])
            elif isinstance(each, list):
                pending.extend(each)

    def check_sizes(self, options: Mapping[str, Any], count: int) -> None:
        """Raise UsageError for arguments of `count` inputs that ask for more memory than is allowed."""
        for given in (options, *(each for each in options.values() if isinstance(each, Mapping))):
            for names, factor, most in ((_ROWS, count, self.sequences), (_TOKENS, 1, self.characters)):
                for name in names:
                    if isinstance(value := given.get(name), (int, float)) and value * factor > most:
                        raise UsageError(f"{name} must be at most {most // factor} for {count} inputs, got {value}")
