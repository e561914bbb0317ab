"""A request to stop reaches whoever waits, at whatever moment a signal makes it."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from shared.process import stopping

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Asked for at once or never: nothing here waits for it in vain.
LONG = 100.0


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Whatever handled the signals before does so afterwards."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_it(number: signal.Signals) -> None:
    stop = stopping.on_signals()
    assert not stop.wait(0.0)
    os.kill(os.getpid(), number)
    assert stop.wait(LONG)
    assert stop.is_set()
    assert stop.wait(LONG)  # once asked, always


@pytest.mark.usefixtures("_handlers")
def test_every_signal_is_counted() -> None:
    stop = stopping.on_signals(signal.SIGHUP)
    assert stop.requests == 0
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert (stop.requests, stop.is_set()) == (2, True)


def test_another_thread_asks_for_it() -> None:
    stop = stopping.Stop()
    thread = threading.Thread(target=stop.set)
    thread.start()
    assert stop.wait(LONG)
    thread.join()


@pytest.mark.usefixtures("_handlers")
def test_a_signal_in_the_middle_of_waiting_blocks_nothing() -> None:
    """With threading.Event the first hundred signals end this: `set` waits for a lock that `wait` below it holds."""
    stops = [stopping.Stop()]
    heard = 0

    def heed(_number: int, _frame: object) -> None:
        nonlocal heard
        heard += 1
        stops[-1].set()

    signal.signal(signal.SIGALRM, heed)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    deadline = time.monotonic() + LONG
    while heard < 300 and time.monotonic() < deadline:
        if stops[-1].wait(0.00001):
            stops.append(stopping.Stop())
    assert heard >= 300
