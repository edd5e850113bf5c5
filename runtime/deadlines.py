"""A call that ends in time or is left behind; it knows nothing of what is called."""

import threading
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")


class Late(TimeoutError):  # noqa: N818 - reads as what it is
    """A call that did not end in time."""


def within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Return what the call returns, and raise what it raises; raise Late where that takes too long.

    A thread runs it, which a late call keeps: no socket timeout bounds name resolution or a server that drips headers.
    """
    returned: list[_Result] = []
    raised: list[Exception] = []

    def run() -> None:
        try:
            returned.append(call())
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise Late(f"nothing arrived within {seconds:g} s")
    return returned[0]
