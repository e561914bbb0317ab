"""Ends what takes too long, for thousands of waiting things at once and with one timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

T = TypeVar("T")

LOOKS = 10  # in the time that a thing has


class Deadlines(Generic[T]):
    """Calls `late` with each thing that did not end within `seconds`, or a tenth later. For the loop's thread."""

    def __init__(self, loop: AbstractEventLoop, seconds: float, late: Callable[[T], None]) -> None:
        self._loop = loop
        self._seconds = seconds
        self._late = late
        self._due: dict[T, float] = {}  # in the order they began, so that a look ends at the first in time
        self._looks = False

    def begin(self, thing: T) -> None:
        """From now on it has its time."""
        self._due[thing] = self._loop.time() + self._seconds
        if not self._looks:
            self._looks = True
            self._loop.call_later(self._seconds / LOOKS, self._look)

    def end(self, thing: T) -> None:
        """It is done; also when it was late."""
        self._due.pop(thing, None)

    def _look(self) -> None:
        now = self._loop.time()
        for thing in [thing for thing, due in self._due.items() if due <= now]:
            del self._due[thing]
            self._late(thing)
        self._looks = bool(self._due)
        if self._looks:
            self._loop.call_later(self._seconds / LOOKS, self._look)
