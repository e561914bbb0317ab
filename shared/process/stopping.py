"""A request to stop, which a signal may make at any moment."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """A request to stop, made by a signal handler or by another thread. One thread waits for it.

    A threading.Event would not do. Python runs a signal handler inside the code that the main thread runs. If that code
    is `Event.wait`, then `set` waits for ever for a lock that its own thread holds. SimpleQueue may be filled from a
    handler.
    """

    def __init__(self) -> None:
        self._requests = 0
        self._wake_ups: SimpleQueue[None] = SimpleQueue()

    @property
    def requests(self) -> int:
        """Count the requests: a second signal means that somebody does not want to wait."""
        return self._requests

    def set(self) -> None:
        """Ask the process to stop: from now on `wait` returns at once."""
        self._requests += 1
        self._wake_ups.put(None)

    def is_set(self) -> bool:
        """Whether the process was asked to stop."""
        return self._requests > 0

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds, or until the process is asked to stop, and return whether it was."""
        if not self.is_set():
            with suppress(Empty):
                self._wake_ups.get(timeout=seconds)
        return self.is_set()


def on_signals(*others: signal.Signals) -> Stop:
    """Return a request to stop that TERM, Ctrl-C and the `others` make from now on; for the main thread only."""
    stop = Stop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, *others):
        signal.signal(number, handle)
    return stop
