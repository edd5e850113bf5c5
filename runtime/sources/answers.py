"""GET from a Hub, with bytes, seconds and tries bounded; it knows no repository.

The connection is huggingface_hub's, so that a user's proxies and certificates count, and nothing else of it: its own
requests wait for as long as a server asks, retry for half a minute, and read all that is sent.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..deadlines import within
from ..errors import EnvironmentMissing, IntegrityError

_LOG = logging.getLogger("vitrify")
_BLOCK = 2**16
_OK, _PARTIAL, _REJECTED = 200, 206, 400
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_OF_THE_NETWORK = ("httpx", "httpcore", "urllib3", "requests")


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, in seconds, and how often it is asked.

    `pause` comes before the second try and doubles; `longest_pause` is what a server may ask for. Within `start` it
    answers, and of a body it sends `least` bytes in every `window`.
    """

    tries: int = 4
    pause: float = 1.0
    longest_pause: float = 30.0
    start: float = 60.0
    silence: float = 10.0
    window: float = 60.0
    least: int = 2**18


PATIENCE = Patience()


class Rejected(Exception):  # noqa: N818 - reads as what it is
    """An answer that is no content: its status, and the Hub's word for the reason."""

    def __init__(self, status: int, code: str | None) -> None:
        super().__init__(f"status {status}")
        self.status, self.code = status, code


def read_answer(url: str, *, largest: int, headers: Mapping[str, str], patience: Patience = PATIENCE) -> bytes:
    """Return a whole answer; raise IntegrityError where it is larger than so many bytes, Rejected where it is none."""
    body = bytearray()
    with _opened(url, headers, patience) as answer:
        for block in _blocks(answer, patience):
            body += block
            if len(body) > largest:
                raise IntegrityError(f"the Hub's answer is larger than {largest} bytes: do not trust it")
    return bytes(body)


def download(
    url: str, file: BinaryIO, *, size: int, headers: Mapping[str, str], bar: Any, patience: Patience = PATIENCE
) -> None:
    """Append what a file lacks of `size` bytes; a connection that breaks is resumed.

    Raises IntegrityError where more is sent, Rejected where nothing is.
    """
    failures = 0
    while (there := file.tell()) < size:
        try:
            _append(url, file, size, headers, bar, patience)
            failed: Exception = EnvironmentMissing(f"the Hub sent {file.tell()} bytes of {size}: run again")
        except Exception as error:
            if not is_of_the_network(error):
                raise
            failed = error
        # A server that breaks off after each few bytes makes no progress.
        failures = 0 if file.tell() - there >= patience.least else failures + 1
        if file.tell() < size and failures >= patience.tries:
            raise failed


def _append(url: str, file: BinaryIO, size: int, headers: Mapping[str, str], bar: Any, patience: Patience) -> None:
    there = file.tell()
    with _opened(url, {**headers, **({"Range": f"bytes={there}-"} if there else {})}, patience) as answer:
        if there and answer.status_code != _PARTIAL:  # it begins anew
            file.seek(0)
            file.truncate()
        for block in _blocks(answer, patience):
            if file.tell() + len(block) > size:
                raise IntegrityError(
                    f"the Hub sends more than the {size} bytes that it announced: run again, or do not trust it"
                )
            file.write(block)
            bar.update(len(block))


def is_of_the_network(error: Exception) -> bool:
    """Tell whether a connection failed, of whichever library it is."""
    if type(error).__module__.startswith(_OF_THE_NETWORK):
        return True
    return isinstance(error, (ConnectionError, TimeoutError))


@contextmanager
def _opened(url: str, headers: Mapping[str, str], patience: Patience) -> Iterator[Any]:
    """Yield an answer whose body is still to be read, after as many tries as there is patience for."""
    for tried in range(1, patience.tries + 1):
        answer = within(patience.start, lambda: _open(url, headers, patience))
        try:
            status = answer.status_code
            if status in {_OK, _PARTIAL}:
                yield answer
                return
            if status not in _TRANSIENT or tried == patience.tries:
                raise Rejected(status, answer.headers.get("X-Error-Code"))
            pause = _pause(answer.headers, patience.pause * 2 ** (tried - 1), patience)
        finally:
            answer.close()
        _LOG.info("the Hub answered %d; asking again in %g s", status, pause)
        time.sleep(pause)


def _pause(headers: Mapping[str, str], usual: float, patience: Patience) -> float:
    asked = headers.get("Retry-After", "").strip()
    pause = int(asked[:9]) if asked.isascii() and asked.isdigit() else usual
    if pause > patience.longest_pause:
        raise EnvironmentMissing(
            f"the Hub asks to wait {pause} s, longer than the {patience.longest_pause:g} s that a download waits: run "
            "again then, or log in (hf auth login) for a higher limit"
        )
    return pause


def _open(url: str, headers: Mapping[str, str], patience: Patience) -> Any:
    from huggingface_hub.utils import get_session

    session: Any = get_session()
    headers = {**headers, "Accept-Encoding": "identity"}  # a packed body has any size
    if hasattr(session, "build_request"):
        return session.send(session.build_request("GET", url, headers=headers, timeout=patience.silence), stream=True)
    return session.get(url, headers=headers, timeout=patience.silence, stream=True)  # huggingface_hub before 1


def _blocks(answer: Any, patience: Patience) -> Iterator[bytes]:
    """Yield a body as it arrives; raise TimeoutError where that is too slow to ever end."""
    if (packed := answer.headers.get("Content-Encoding", "identity").lower()) != "identity":
        raise EnvironmentMissing(
            f"the Hub's answer is packed ({packed:.20}), which was not asked for: check HF_ENDPOINT, or a proxy between"
        )
    raw = answer.iter_raw() if hasattr(answer, "iter_raw") else answer.raw.stream(_BLOCK, decode_content=False)
    begun, received = time.monotonic(), 0
    for block in raw:
        yield block
        received += len(block)
        passed = time.monotonic() - begun
        if passed > patience.window:
            if received < patience.least:
                raise TimeoutError(f"{received} bytes in {passed:.0f} s")
            begun, received = time.monotonic(), 0
