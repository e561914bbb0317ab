"""A store that hangs costs its callers the deadline and one thread, whatever they ask."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.deadline import WithDeadline
from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DELIVERY = Delivery(id="0" * 32, received_at=datetime(2026, 8, 11, tzinfo=UTC), body=b"{}")


class Hanging:
    """A store that answers after `go`."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.puts = 0

    def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.go.wait(10)
        self.puts += 1
        return [None] * len(deliveries)

    def check(self) -> None:
        self.go.wait(10)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    store = Hanging()
    yield store
    store.go.set()


def test_in_time_the_answer_is_the_stores_own(hanging: Hanging) -> None:
    hanging.go.set()
    assert WithDeadline(hanging, seconds=5).put([DELIVERY]) == [None]


def test_an_error_is_the_stores_own() -> None:
    class Broken(Hanging):
        def check(self) -> None:
            raise StoreUnavailable("connection refused")

    with pytest.raises(StoreUnavailable, match="connection refused"):
        WithDeadline(Broken(), seconds=5).check()


def test_a_hanging_store_is_given_up_in_time(hanging: Hanging) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="within"):
        WithDeadline(hanging, seconds=0.05).put([DELIVERY])
    assert time.monotonic() - began < 1


def test_hanging_starts_no_more_threads(hanging: Hanging) -> None:
    store = WithDeadline(hanging, seconds=0.01)
    before = threading.active_count()
    for _ in range(10):
        with pytest.raises(StoreUnavailable):
            store.check()
    assert threading.active_count() <= before + 1


def test_what_was_given_up_before_it_began_is_never_done(hanging: Hanging) -> None:
    store = WithDeadline(hanging, seconds=0.02)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            store.put([DELIVERY])
    hanging.go.set()
    WithDeadline.check(store)
    assert hanging.puts == 1
