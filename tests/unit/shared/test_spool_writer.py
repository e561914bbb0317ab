"""A hanging PostgreSQL costs each request of the door at most the deadline, and all together one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from shared.db.recording.spool_writer import AsyncSpool
from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")


class Hanging:
    """A connection that answers after `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.puts = self.given_up = 0

    def put(self, deliveries: Sequence[Delivery]) -> None:
        self.go.wait(10)
        self.puts += 1

    def check(self) -> None:
        self.go.wait(10)

    def give_up(self) -> None:
        self.given_up += 1


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    connection = Hanging()
    yield connection
    connection.go.set()


def spool(connection: Hanging, seconds: float) -> AsyncSpool:
    return AsyncSpool(connection, seconds=seconds)  # type: ignore[arg-type]


async def is_writable(ours: AsyncSpool) -> bool:
    try:
        await ours.check()
    except StoreUnavailable:
        return False
    return True


def test_an_answer_in_time_is_returned(hanging: Hanging) -> None:
    hanging.go.set()
    asyncio.run(spool(hanging, 5).put([DELIVERY]))
    assert hanging.puts == 1


def test_an_error_of_the_connection_is_raised() -> None:
    class Broken(Hanging):
        def check(self) -> None:
            raise StoreUnavailable("connection refused")

    with pytest.raises(StoreUnavailable, match="connection refused"):
        asyncio.run(spool(Broken(), 5).check())


def test_a_hanging_connection_is_given_up_at_the_deadline(hanging: Hanging) -> None:
    async def story() -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="within"):
            await spool(hanging, 0.05).put([DELIVERY])
        return time.monotonic() - began

    assert asyncio.run(story()) < 1
    assert hanging.given_up == 1


def test_a_hanging_connection_holds_one_thread_and_skips_abandoned_puts(hanging: Hanging) -> None:
    async def story() -> None:
        ours, before = spool(hanging, 0.01), threading.active_count()
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                await ours.put([DELIVERY])
        assert threading.active_count() <= before + 1
        hanging.go.set()
        async with asyncio.timeout(10):
            while not await is_writable(ours):  # the first put must end first
                await asyncio.sleep(0.001)

    asyncio.run(story())
    assert hanging.puts == 1
