"""How much a server takes on: what may wait, how large a request may be, and how long it may take."""

from dataclasses import dataclass

from ..runtime.errors import UsageError


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
        Characters of one text.
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
            if isinstance(each, dict):
                pending.extend(each.values())
            elif isinstance(each, list):
                pending.extend(each)
