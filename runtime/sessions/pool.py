"""A pool: things that are costly to make and serve one caller at a time, made on demand and lent out again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Condition
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    """What a pool can lend."""

    def close(self) -> None:
        """Free it."""


T = TypeVar("T", bound=Closable)


class PoolClosed(Exception):  # noqa: N818 - a state, which callers put into their own words
    """The pool was closed before it could lend."""


class Pool(Generic[T]):
    """Lends what `make` makes, at most `most` at a time; callers beyond that wait."""

    def __init__(self, make: Callable[[], T], *, most: int) -> None:
        self._make: Callable[[], T] | None = make
        self._most = most
        self._idle: list[T] = []
        self._made = 0  # idle or lent
        self._changed = Condition()

    @contextmanager
    def lent(self) -> Iterator[T]:
        """Lend one for the time of a `with`; one whose use raises is closed, not lent again.

        Raises PoolClosed once the pool is closed, and what `make` raises.
        """
        one = self._take()
        try:
            yield one
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                self._discard(one)
            raise
        self._give_back(one)

    def close(self) -> None:
        """Wait for those that are lent, and free all."""
        with self._changed:
            self._make = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._made == len(self._idle))
        while self._idle:
            self._discard(self._idle.pop())

    def _take(self) -> T:
        with self._changed:
            self._changed.wait_for(lambda: self._make is None or self._idle or self._made < self._most)
            if self._make is None:
                raise PoolClosed
            if self._idle:
                return self._idle.pop()
            self._made += 1
            make = self._make
        try:
            return make()
        except BaseException:
            self._forget()
            raise

    def _give_back(self, one: T) -> None:
        with self._changed:
            self._idle.append(one)
            self._changed.notify_all()

    def _discard(self, one: T) -> None:
        try:
            one.close()
        finally:
            self._forget()

    def _forget(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify_all()
