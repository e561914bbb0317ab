"""The bell tells the recorder, or fails alone."""

from __future__ import annotations

import threading

import pytest

from ingest import bell as bell_module
from ingest.bell import Bell
from shared.errors import StoreUnavailable


class Ringing:
    """Counts sends; the first ones fail with the errors given."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent = threading.Semaphore(0)

    def __call__(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.release()


def test_a_ring_is_one_send() -> None:
    send = Ringing()
    Bell(send).ring()
    assert send.sent.acquire(timeout=5)
    assert not send.sent.acquire(timeout=0.05)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ZeroDivisionError("a bug")])
def test_after_a_failure_the_next_ring_is_sent(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr(bell_module, "PAUSE_AFTER_FAILURE", 0.01)
    send = Ringing(failure)
    bell = Bell(send)
    bell.ring()
    while send.failures:
        threading.Event().wait(0.001)
    bell.ring()
    assert send.sent.acquire(timeout=5)


def test_ringing_does_not_wait_for_the_send() -> None:
    go = threading.Event()
    bell = Bell(lambda: (go.wait(10), None)[1])
    for _ in range(100):
        bell.ring()
    go.set()
