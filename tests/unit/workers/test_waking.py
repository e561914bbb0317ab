"""A call from a thread of the pool wakes Celery's event loop at once."""

from __future__ import annotations

import time
from threading import Timer
from types import SimpleNamespace

import pytest
from kombu.asynchronous import Hub

from workers.process.waking import Waker

CALLED_AFTER = 0.2  # seconds
SOON = 1.5  # seconds; without the waker this loop sleeps for 2


@pytest.fixture
def hub() -> Hub:
    """A loop that has nothing to do for a minute."""
    loop = Hub()
    loop.call_later(60, int)
    Waker(None).start(SimpleNamespace(hub=loop))
    return loop


def seconds_until_it_stops(loop: Hub) -> float:
    began = time.monotonic()
    Timer(CALLED_AFTER, loop.stop).start()  # `stop` uses `call_soon`
    loop.run_forever()
    return time.monotonic() - began


def test_a_call_from_a_thread_ends_the_sleep(hub: Hub) -> None:
    assert CALLED_AFTER <= seconds_until_it_stops(hub) < SOON


def test_a_hub_that_was_reset_is_watched_again(hub: Hub) -> None:
    hub.reset()
    hub.call_later(60, int)
    assert CALLED_AFTER <= seconds_until_it_stops(hub) < SOON


def test_a_worker_without_an_event_loop_is_left_alone() -> None:
    waker = Waker(None)
    waker.start(SimpleNamespace(hub=None))
    assert waker._pipe is None
