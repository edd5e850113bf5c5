"""Who may ask: API keys out of a file or the environment, compared in constant time."""

import hashlib
import hmac
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ..runtime.errors import EnvironmentMissing, UsageError

VARIABLE = "VITRIFY_API_KEYS"
_KEY = re.compile(r"[!-~]+")


class Keys:
    """The keys of a server; without any, everybody may ask."""

    def __init__(self, keys: Collection[str] = ()) -> None:
        if not all(_KEY.fullmatch(key) for key in keys):
            raise UsageError("an API key must be of visible ASCII characters, as a header is")
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, file: Path | None) -> "Keys":
        """Return the keys of a file, one a line, or else of the environment, with commas between them.

        Raises UsageError where either is there and has none: a server that was to be closed would be open.
        """
        if file is None:
            given = os.environ.get(VARIABLE)
            return cls() if given is None else cls._some(given.split(","), f"{VARIABLE} contains no API key: unset it")
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise EnvironmentMissing(f"the API keys in '{file}' cannot be read ({error})") from error
        return cls._some(lines, f"'{file}' contains no API key: write one on each line")

    @classmethod
    def _some(cls, words: Sequence[str], otherwise: str) -> "Keys":
        if not (keys := [word.strip() for word in words if word.strip()]):
            raise UsageError(otherwise)
        return cls(keys)

    def known(self, authorization: str | None) -> str | None:
        """Return a name for who sends this header, "" where everybody may ask; None for who may not."""
        if not self._digests:
            return ""
        kind, _, key = (authorization or "").partition(" ")
        given = _digest(key.strip() if kind.lower() == "bearer" else "")
        matches = [hmac.compare_digest(given, each) for each in self._digests]  # all of them: it takes as long
        return given.hex()[:16] if any(matches) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
