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
        self._is_set = False
        self._wake_ups: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask the process to stop: from now on `wait` returns at once."""
        self._is_set = True
        self._wake_ups.put(None)

    def is_set(self) -> bool:
        """Whether the process was asked to stop."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Wait so many seconds, or until the process is asked to stop, and return whether it was."""
        if not self._is_set:
            with suppress(Empty):
                self._wake_ups.get(timeout=seconds)
        return self._is_set


def on_signals() -> Stop:
    """Return a request to stop that TERM and Ctrl-C make from now on. Only the main thread may call this."""
    stop = Stop()

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    return stop
