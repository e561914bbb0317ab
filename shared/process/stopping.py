"""A request to stop, which a signal may make at any moment."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """A request to stop: a signal or another thread makes it, one thread waits for it.

    This is no `threading.Event`. Python runs a signal handler inside the main thread. If that thread is inside
    `Event.wait`, then `Event.set` waits for ever for a lock that its own thread holds. SimpleQueue may be filled from
    a handler.
    """

    def __init__(self) -> None:
        self._requests = 0
        self._wakes: SimpleQueue[None] = SimpleQueue()

    @property
    def requests(self) -> int:
        """Count the requests: a second signal means that somebody does not want to wait."""
        return self._requests

    def set(self) -> None:
        """Make the request: `wait` returns at once, now and later."""
        self._requests += 1
        self._wakes.put(None)

    def is_set(self) -> bool:
        """Whether somebody made the request."""
        return self._requests > 0

    def wait(self, seconds: float) -> bool:
        """Return after so many seconds, or as soon as the request is made; whether it was made."""
        if not self._requests:
            with suppress(Empty):
                self._wakes.get(timeout=seconds)
        return self.is_set()


def on_signals(*others: signal.Signals) -> Stop:
    """Take TERM, Ctrl-C and the `others` as requests to stop from now on; call it from the main thread."""
    stop = Stop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, *others):
        signal.signal(number, handle)
    return stop
