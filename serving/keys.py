"""Who may ask: API keys out of a file or the environment, compared in constant time."""

import hashlib
import hmac
import os
from collections.abc import Collection
from pathlib import Path

from ..runtime.errors import EnvironmentMissing, UsageError

VARIABLE = "VITRIFY_API_KEYS"


class Keys:
    """The keys of a server; without any, everybody may ask."""

    def __init__(self, keys: Collection[str] = ()) -> None:
        self._digests = [_digest(key) for key in keys]

    @classmethod
    def read(cls, file: Path | None) -> "Keys":
        """Return the keys of a file, one a line, or else of the environment, with commas between them.

        Raises UsageError for a file without any: a server that was to be closed would be open.
        """
        if file is None:
            return cls([key.strip() for key in os.environ.get(VARIABLE, "").split(",") if key.strip()])
        try:
            keys = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise EnvironmentMissing(f"the API keys in '{file}' cannot be read ({error})") from error
        if not keys:
            raise UsageError(f"'{file}' contains no API key: write one on each line")
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
