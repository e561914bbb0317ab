"""A request to stop that a signal may make at any moment."""

from __future__ import annotations

import signal
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType


class Stop:
    """Asked for by a signal or by another thread; one thread waits for it.

    Not threading.Event: Python runs a handler inside whatever the main thread does, and where that is `wait` itself,
    `set` waits for ever for the lock that its own thread holds. SimpleQueue is made to be filled from a handler.
    """

    def __init__(self) -> None:
        self._asked = False
        self._wakes: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        """Ask for it: `wait` returns at once, now and later."""
        self._asked = True
        self._wakes.put(None)

    def is_set(self) -> bool:
        """Whether somebody asked."""
        return self._asked

    def wait(self, seconds: float) -> bool:
        """Return after so many seconds, or as soon as somebody asks; whether somebody did."""
        if not self._asked:
            with suppress(Empty):
                self._wakes.get(timeout=seconds)
        return self._asked


def on_signals() -> Stop:
    """What TERM and Ctrl-C ask for from now on; for the main thread."""
    stop = Stop()

    def heed(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heed)
    return stop
