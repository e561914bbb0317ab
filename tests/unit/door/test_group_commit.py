"""Requests share round trips, and none waits for a store longer than it may."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.group_commit import MAX_BYTES, GroupCommit
from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    return GroupCommit("test", store, patience=5.0)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as threads:
        yield threads


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def waiting(commit: GroupCommit) -> int:
    return len(commit._waiting)


def test_a_single_delivery_goes_alone(store: Recording, commit: GroupCommit) -> None:
    store.open.set()
    commit.put(delivery(1))
    assert store.batches == [[delivery(1)]]


def test_all_that_wait_go_together(store: Recording, commit: GroupCommit, threads: ThreadPoolExecutor) -> None:
    first = threads.submit(commit.put, delivery(0))
    store.entered.acquire()
    others = [threads.submit(commit.put, delivery(number)) for number in range(1, 20)]
    until(lambda: waiting(commit) == 19)
    store.open.set()
    for future in [first, *others]:
        future.result(5)
    assert [len(batch) for batch in store.batches] == [1, 19]


def test_each_is_stored_once_under_many_threads(
    store: Recording, commit: GroupCommit, threads: ThreadPoolExecutor
) -> None:
    store.open.set()
    list(threads.map(commit.put, [delivery(number) for number in range(2000)]))
    stored = [each.id for batch in store.batches for each in batch]
    assert sorted(stored) == [delivery(number).id for number in range(2000)]


def test_a_round_trip_is_bounded_in_bytes(store: Recording, commit: GroupCommit, threads: ThreadPoolExecutor) -> None:
    first = threads.submit(commit.put, delivery(0))
    store.entered.acquire()
    third = b"x" * (MAX_BYTES // 3)
    others = [threads.submit(commit.put, delivery(number, third)) for number in range(1, 7)]
    until(lambda: waiting(commit) == 6)
    store.open.set()
    for future in [first, *others]:
        future.result(5)
    assert [len(batch) for batch in store.batches] == [1, 3, 3]


def test_a_body_over_the_bound_goes_alone(store: Recording, commit: GroupCommit) -> None:
    store.open.set()
    commit.put(delivery(1, b"x" * (MAX_BYTES + 1)))
    assert len(store.batches) == 1


def test_one_refusal_concerns_one_request(store: Recording, commit: GroupCommit, threads: ThreadPoolExecutor) -> None:
    store.refused = {delivery(2).id}
    first = threads.submit(commit.put, delivery(0))
    store.entered.acquire()
    others = [threads.submit(commit.put, delivery(number)) for number in (1, 2, 3)]
    until(lambda: waiting(commit) == 3)
    store.open.set()
    first.result(5)
    assert [type(future.exception(5)) for future in others] == [type(None), StoreUnavailable, type(None)]


def test_a_failure_is_told_at_once_to_all_that_wait(
    store: Recording, commit: GroupCommit, threads: ThreadPoolExecutor
) -> None:
    store.failure = StoreUnavailable("gone")
    futures = [threads.submit(commit.put, delivery(0))]
    store.entered.acquire()
    futures += [threads.submit(commit.put, delivery(number)) for number in range(1, 10)]
    until(lambda: waiting(commit) == 9)
    store.open.set()
    assert {type(future.exception(5)) for future in futures} == {StoreUnavailable}
    assert len(store.batches) == 1


def test_after_a_failure_nobody_pays_again(store: Recording, commit: GroupCommit) -> None:
    store.failure = StoreUnavailable("gone")
    store.open.set()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="gone"):
            commit.put(delivery(1))
    assert len(store.batches) == 1


def test_it_goes_on_when_the_store_is_back(store: Recording, commit: GroupCommit) -> None:
    store.failure = StoreUnavailable("gone")
    store.open.set()
    with pytest.raises(StoreUnavailable):
        commit.put(delivery(1))
    store.failure = None
    until(lambda: commit._outage._reason is None)
    commit.put(delivery(2))
    assert store.batches[-1] == [delivery(2)]


def test_an_unexpected_error_is_a_failure_like_any_other(store: Recording, commit: GroupCommit) -> None:
    store.failure = ZeroDivisionError("a bug")
    store.open.set()
    with pytest.raises(StoreUnavailable, match="a bug"):
        commit.put(delivery(1))


def test_a_follower_waits_no_longer_than_its_patience(store: Recording, threads: ThreadPoolExecutor) -> None:
    commit = GroupCommit("test", store, patience=0.05)
    leader = threads.submit(commit.put, delivery(1))
    store.entered.acquire()
    with pytest.raises(StoreUnavailable, match="within"):
        commit.put(delivery(2))
    store.open.set()
    leader.result(5)


def test_who_gave_up_waiting_is_not_written(store: Recording, threads: ThreadPoolExecutor) -> None:
    commit = GroupCommit("test", store, patience=0.05)
    leader = threads.submit(commit.put, delivery(1))
    store.entered.acquire()
    with pytest.raises(StoreUnavailable):
        commit.put(delivery(2))
    store.open.set()
    leader.result(5)
    commit.put(delivery(3))
    assert store.batches == [[delivery(1)], [delivery(3)]]


def test_the_lead_survives_followers_that_give_up(store: Recording, threads: ThreadPoolExecutor) -> None:
    """Patience about as long as a round trip: giving up and getting the lead meet all the time."""
    commit = GroupCommit("test", Slow(0.002), patience=0.003)
    list(threads.map(lambda number: _try(commit, delivery(number)), range(1500)))
    commit.put(delivery(9999))


class Slow(Recording):
    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        time.sleep(self.seconds)
        return [None] * len(deliveries)


def _try(commit: GroupCommit, each: Delivery) -> None:
    try:
        commit.put(each)
    except StoreUnavailable:
        return
