"""Requests share round trips, and only the first pay for a store that is away."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.group_commit import MAX_BYTES, MAX_DELIVERIES, GroupCommit, InThread
from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AT = datetime(2026, 8, 11, tzinfo=UTC)


def delivery(number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(id=f"{number:032x}", received_at=AT, body=body)


class Recording:
    """A store that remembers its batches, and answers when it is let."""

    def __init__(self) -> None:
        self.batches: list[list[Delivery]] = []
        self.refused: set[str] = set()
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)

    def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.batches.append(list(deliveries))
        self.entered.release()
        assert self.open.wait(10)
        if self.failure:
            raise self.failure
        return [StoreUnavailable("refused") if each.id in self.refused else None for each in deliveries]

    def check(self) -> None:
        if self.failure:
            raise self.failure


@pytest.fixture
def store() -> Recording:
    return Recording()


@pytest.fixture
def commit(store: Recording) -> GroupCommit:
    return InThread("test", store)


def submit(commit: GroupCommit, each: Delivery) -> Future[Exception | None]:
    """What the delivery's request hears."""
    heard: Future[Exception | None] = Future()
    commit.submit(each, heard.set_result)
    return heard


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def behind_one_in_work(store: Recording, commit: GroupCommit, *others: Delivery) -> list[Future[Exception | None]]:
    """Submit one, wait until it is being written, submit the others."""
    first = submit(commit, delivery(0))
    assert store.entered.acquire(timeout=20)
    return [first, *(submit(commit, each) for each in others)]


def outcomes(heard: list[Future[Exception | None]]) -> list[type]:
    return [type(each.result(20)) for each in heard]


def test_a_single_delivery_goes_alone(store: Recording, commit: GroupCommit) -> None:
    store.open.set()
    assert submit(commit, delivery(1)).result(20) is None
    assert store.batches == [[delivery(1)]]


def test_nobody_waits_while_submitting(store: Recording, commit: GroupCommit) -> None:
    heard = behind_one_in_work(store, commit, delivery(1))
    assert not any(each.done() for each in heard)
    store.open.set()


def test_all_that_wait_go_together(store: Recording, commit: GroupCommit) -> None:
    heard = behind_one_in_work(store, commit, *(delivery(number) for number in range(1, 20)))
    store.open.set()
    assert set(outcomes(heard)) == {type(None)}
    assert [len(batch) for batch in store.batches] == [1, 19]


def test_each_is_stored_once_under_many_threads(store: Recording, commit: GroupCommit) -> None:
    store.open.set()
    with ThreadPoolExecutor(32) as threads:
        heard = list(threads.map(lambda number: submit(commit, delivery(number)), range(2000)))
        assert set(outcomes(heard)) == {type(None)}
    stored = [each.id for batch in store.batches for each in batch]
    assert sorted(stored) == [delivery(number).id for number in range(2000)]


def test_they_are_stored_in_the_order_they_came(store: Recording, commit: GroupCommit) -> None:
    heard = behind_one_in_work(store, commit, *(delivery(number, THIRD) for number in range(1, 7)))
    store.open.set()
    outcomes(heard)
    assert [each.id for batch in store.batches for each in batch] == [delivery(number).id for number in range(7)]


THIRD = b"x" * (MAX_BYTES // 3)


def test_a_round_trip_is_bounded_in_bytes(store: Recording, commit: GroupCommit) -> None:
    heard = behind_one_in_work(store, commit, *(delivery(number, THIRD) for number in range(1, 7)))
    store.open.set()
    outcomes(heard)
    assert [len(batch) for batch in store.batches] == [1, 3, 3]


def test_a_round_trip_is_bounded_in_deliveries(store: Recording, commit: GroupCommit) -> None:
    heard = behind_one_in_work(store, commit, *(delivery(number) for number in range(1, MAX_DELIVERIES + 2)))
    store.open.set()
    outcomes(heard)
    assert [len(batch) for batch in store.batches] == [1, MAX_DELIVERIES, 1]


def test_a_body_over_the_bound_goes_alone(store: Recording, commit: GroupCommit) -> None:
    store.open.set()
    submit(commit, delivery(1, b"x" * (MAX_BYTES + 1))).result(20)
    assert len(store.batches) == 1


def test_one_refusal_concerns_one_request(store: Recording, commit: GroupCommit) -> None:
    store.refused = {delivery(2).id}
    heard = behind_one_in_work(store, commit, *(delivery(number) for number in (1, 2, 3)))
    store.open.set()
    assert outcomes(heard) == [type(None), type(None), StoreUnavailable, type(None)]


def test_a_failure_is_told_to_all_that_wait_and_costs_one_try(store: Recording, commit: GroupCommit) -> None:
    store.failure = StoreUnavailable("gone")
    heard = behind_one_in_work(store, commit, *(delivery(number) for number in range(1, 10)))
    store.open.set()
    assert set(outcomes(heard)) == {StoreUnavailable}
    assert len(store.batches) == 1


def test_after_a_failure_nobody_pays_again(store: Recording, commit: GroupCommit) -> None:
    store.failure = StoreUnavailable("gone")
    store.open.set()
    assert [str(submit(commit, delivery(1)).result(20)) for _ in range(3)] == ["gone"] * 3
    assert len(store.batches) == 1


def test_it_goes_on_when_the_store_is_back(store: Recording, commit: GroupCommit) -> None:
    store.failure = StoreUnavailable("gone")
    store.open.set()
    submit(commit, delivery(1)).result(20)
    store.failure = None
    until(lambda: submit(commit, delivery(2)).result(20) is None)
    assert store.batches[-1] == [delivery(2)]


def test_an_unexpected_error_is_a_failure_like_any_other(store: Recording, commit: GroupCommit) -> None:
    store.failure = ZeroDivisionError("a bug")
    store.open.set()
    assert str(submit(commit, delivery(1)).result(20)) == "a bug"
