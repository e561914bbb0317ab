"""Threads that take parcels when they are due, and again when nobody signed for them."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Parcel = TypeVar("Parcel")


class Courier(Generic[Parcel]):
    """Calls `attempt(parcel, n)` for each parcel until it says True, `tries` times at most.

    A parcel that waits for its next try holds no thread. `close()` ends the threads.
    """

    def __init__(
        self, attempt: Callable[[Parcel, int], bool], *, threads: int, tries: int, retry_seconds: float
    ) -> None:
        self._attempt = attempt
        self._tries = tries
        self._retry_seconds = retry_seconds
        self._due: list[tuple[float, int, Parcel, int]] = []
        self._order = itertools.count()
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()
        for _ in range(threads):
            threading.Thread(target=self._carry, daemon=True, name="courier").start()

    def post(self, parcel: Parcel, after: float = 0.0) -> None:
        """Deliver a parcel `after` seconds."""
        with self._changed:
            self._open += 1
            self._push(parcel, after, 1)

    @property
    def open(self) -> int:
        """How many parcels are neither delivered nor given up."""
        return self._open

    def wait(self) -> None:
        """Return when nothing is open any more, or the courier was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0 or self._closed)

    def close(self) -> None:
        """Deliver nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _push(self, parcel: Parcel, after: float, number: int) -> None:
        heapq.heappush(self._due, (time.monotonic() + after, next(self._order), parcel, number))
        self._changed.notify()

    def _carry(self) -> None:
        while (taken := self._take()) is not None:
            parcel, number = taken
            done = self._attempt(parcel, number) or number >= self._tries
            with self._changed:
                if done:
                    self._open -= 1
                    self._changed.notify_all()
                else:
                    self._push(parcel, self._retry_seconds, number + 1)

    def _take(self) -> tuple[Parcel, int] | None:
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, parcel, number = heapq.heappop(self._due)
                    return parcel, number
                self._changed.wait(wait)
        return None
