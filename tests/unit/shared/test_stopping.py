"""A request to stop ends every wait, even when a signal handler makes it during the wait."""

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

#: Seconds. A stop comes at once in these tests, so no wait lasts this long.
LONG = 100.0


@pytest.fixture
def _restore_handlers() -> Iterator[None]:
    """Restore the signal handlers after the test."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_restore_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_requests_a_stop(number: signal.Signals) -> None:
    stop = stopping.on_signals()
    assert not stop.wait(0.0)
    os.kill(os.getpid(), number)
    assert stop.wait(LONG)
    assert stop.is_set()
    assert stop.wait(LONG)  # a stop is never taken back


@pytest.mark.usefixtures("_restore_handlers")
def test_every_signal_is_counted() -> None:
    stop = stopping.on_signals(signal.SIGHUP)
    assert stop.requests == 0
    for number in (signal.SIGHUP, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert (stop.requests, stop.is_set()) == (2, True)


def test_another_thread_requests_a_stop() -> None:
    stop = stopping.Stop()
    thread = threading.Thread(target=stop.set)
    thread.start()
    assert stop.wait(LONG)
    thread.join()


@pytest.mark.usefixtures("_restore_handlers")
def test_a_signal_during_a_wait_does_not_deadlock() -> None:
    """With threading.Event `set` would need a lock that the interrupted `wait` holds."""
    stops = [stopping.Stop()]
    signals = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal signals
        signals += 1
        stops[-1].set()

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    deadline = time.monotonic() + LONG
    while signals < 300 and time.monotonic() < deadline:
        if stops[-1].wait(0.00001):
            stops.append(stopping.Stop())
    assert signals >= 300
