"""The bell wakes the recorder; its own failures affect nothing else."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from ingest import bell as bell_module
from ingest.bell import Bell, RingingIntake, RingingSpool
from shared.errors import StoreUnavailable
from shared.intake.client import Put
from shared.models import Delivery

DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")


class CountingSender:
    """A sender that counts its calls; the first ones fail with the given errors."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.sent = threading.Semaphore(0)

    def __call__(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.release()


def test_a_ring_is_one_send() -> None:
    send = CountingSender()
    Bell(send).ring()
    assert send.sent.acquire(timeout=5)
    assert not send.sent.acquire(timeout=0.05)


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ZeroDivisionError("a bug")])
def test_after_a_failure_the_next_ring_is_sent(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    monkeypatch.setattr(bell_module, "PAUSE_AFTER_FAILURE", 0.01)
    send = CountingSender(failure)
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


@pytest.mark.parametrize("silent", [True, False])
def test_the_intake_rings_when_the_bell_was_silent(silent: bool) -> None:
    class Intake:
        async def put(self, _: object) -> Put:
            return Put(refusals=(None,), bell_was_silent=silent)

    rings: list[None] = []
    asyncio.run(RingingIntake(Intake(), lambda: rings.append(None)).put([DELIVERY]))  # type: ignore[arg-type]
    assert len(rings) == silent


def test_the_spool_rings_once_a_second() -> None:
    class Spool:
        async def put(self, _: object) -> None: ...

    rings: list[float] = []
    seconds = [0.0]
    spool = RingingSpool(Spool(), lambda: rings.append(seconds[0]), clock=lambda: seconds[0])  # type: ignore[arg-type]

    async def story() -> None:
        for seconds[0] in (0.0, 0.5, 1.0, 1.9, 3.0):
            await spool.put([DELIVERY])

    asyncio.run(story())
    assert rings == [0.0, 1.0, 3.0]
