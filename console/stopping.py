"""Turns Ctrl-C, TERM and a closed terminal into a request that is heeded when it suits."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """How often we were asked to stop: once is a request, twice is impatience."""

    def __init__(self) -> None:
        self.asked = 0

    def heed(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Count the signals inside instead of dying of them."""
    stop = Stop()
    before = {number: signal.signal(number, stop.heed) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
