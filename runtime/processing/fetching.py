"""Inputs from http(s): a whole body in memory, with bytes, seconds and redirects bounded; knows no format.

URLs come from the caller and answers from anybody: nothing but http(s) is opened, redirects included.
"""

import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ..deadlines import Late, within
from ..errors import EnvironmentMissing, UsageError

if TYPE_CHECKING:
    from http.client import HTTPResponse

DOWNLOAD_SECONDS = 60.0
"""How long a whole download may take where the caller does not say."""

_SCHEMES = ("http", "https")
_REDIRECTS = (301, 302, 303, 307, 308)
_SERVER_FAILED = 500
_MAX_HOPS = 10
_SHOWN = 80


def is_url(text: str, *, kind: str) -> bool:
    """Tell an http(s) URL from other texts; `kind` ("an image") names what was asked for in the error.

    Raises UsageError for a URL of another scheme.
    """
    scheme = text[:16].partition("://")[0].lower() if "://" in text[:16] else ""
    if scheme and scheme not in _SCHEMES:
        raise UsageError(f"{kind} cannot come from a '{scheme}' URL (allowed: {', '.join(_SCHEMES)})")
    return bool(scheme)


def fetch_url(url: str, *, max_bytes: int, timeout: float | None) -> bytes:
    """Return the body; UsageError where it is rejected or too large.

    Raises EnvironmentMissing where the connection fails or the body is not complete within `timeout` seconds.
    """
    seconds = DOWNLOAD_SECONDS if timeout is None else timeout
    deadline = time.monotonic() + seconds
    try:
        return within(seconds, lambda: _fetch(url, deadline, max_bytes))
    except Late as error:
        raise EnvironmentMissing(
            f"'{without_secrets(url)}' did not arrive within {seconds:g} s; pass a longer timeout="
        ) from error
    except Exception as error:
        failed = EnvironmentMissing if _is_of_the_network(error) else UsageError
        raise failed(f"cannot fetch '{without_secrets(url)}': {error}") from error


def _is_of_the_network(error: Exception) -> bool:
    from http.client import HTTPException, InvalidURL

    return isinstance(error, (OSError, HTTPException)) and not isinstance(error, InvalidURL)


def without_secrets(url: str) -> str:
    """Return the URL without user, password and query, where tokens and signatures stand."""
    scheme, separator, rest = url.partition("?")[0].partition("#")[0].partition("://")
    host, slash, path = rest.partition("/")
    return shortened(scheme + separator + host.rpartition("@")[2] + slash + path)


def shortened(text: str) -> str:
    """Return the text as an error shows it."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _fetch(url: str, deadline: float, max_bytes: int) -> bytes:
    import urllib.request

    opener = urllib.request.OpenerDirector()  # build_opener's also opens file:, ftp: and data: URLs
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
        opener.add_handler(handler())
    for _ in range(_MAX_HOPS):
        if not urlsplit(url).hostname or urlsplit(url).port == 0:  # a port out of range is a ValueError
            raise UsageError("it names no host and port")
        request = urllib.request.Request(url, headers={"User-Agent": "vitrify"})  # noqa: S310 - http(s) only, below
        with opener.open(request, timeout=max(deadline - time.monotonic(), 0.001)) as response:
            if response.status == 200:
                return _body(response, deadline, max_bytes)
            if response.status not in _REDIRECTS:
                failed = ConnectionError if response.status >= _SERVER_FAILED else UsageError
                raise failed(f"the server answered {response.status} {response.reason}")
            url = urljoin(url, response.headers.get("Location", ""))
        if urlsplit(url).scheme not in _SCHEMES:
            raise UsageError(f"it redirects to '{without_secrets(url)}' (allowed: {', '.join(_SCHEMES)})")
    raise UsageError(f"it redirects more than {_MAX_HOPS} times")


def _body(response: "HTTPResponse", deadline: float, max_bytes: int) -> bytes:
    body = bytearray()
    if (response.length or 0) > max_bytes:
        raise UsageError(f"it is larger than {max_bytes} bytes")
    while chunk := response.read1(2**16):
        body += chunk
        if len(body) > max_bytes:
            raise UsageError(f"it is larger than {max_bytes} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("it took too long")
    if response.length:
        raise ConnectionError(f"the connection was cut {response.length} bytes before the end")
    return bytes(body)
