"""Requests share round trips, and a failing store is tried once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ingest.group_commit import MAX_BYTES, MAX_DELIVERIES, GroupCommit
from shared.errors import StoreUnavailable
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = datetime(2026, 8, 11, tzinfo=UTC)
THIRD = b"x" * (MAX_BYTES // 3)


def delivery(number: int, body: bytes = b"{}") -> Delivery:
    return Delivery(id=f"{number:032x}", received_at=AT, body=body)


class RecordingStore:
    """A store that remembers its batches, and answers when `open` is set."""

    def __init__(self) -> None:
        self.batches: list[list[Delivery]] = []
        self.refused: set[str] = set()
        self.failure: Exception | None = None
        self.failures: list[Exception] = []
        self.open = asyncio.Event()
        self.commit = GroupCommit(self.put, failed=self.failures.append)

    async def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.batches.append(list(deliveries))
        await self.open.wait()
        if self.failure:
            raise self.failure
        return [StoreUnavailable("refused") if each.id in self.refused else None for each in deliveries]

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def run(story: Callable[[RecordingStore], Awaitable[None]]) -> RecordingStore:
    async def with_store() -> RecordingStore:
        store = RecordingStore()
        async with asyncio.timeout(20):
            await story(store)
        return store

    return asyncio.run(with_store())


async def keep_behind_a_running_write(store: RecordingStore, *others: Delivery) -> list[BaseException | None]:
    """Submit one, wait until it is being written, and submit the others; return the result of each."""
    first = asyncio.create_task(store.commit.keep(delivery(0)))
    while not store.batches:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(store.commit.keep(each)) for each in others]
    await asyncio.sleep(0)
    assert not any(task.done() for task in (first, *rest))
    store.open.set()
    return await asyncio.gather(first, *rest, return_exceptions=True)


def test_a_single_delivery_goes_alone() -> None:
    async def story(store: RecordingStore) -> None:
        store.open.set()
        await store.commit.keep(delivery(1))

    assert run(story).batches == [[delivery(1)]]


def test_waiting_deliveries_go_together_in_order() -> None:
    async def story(store: RecordingStore) -> None:
        assert set(await keep_behind_a_running_write(store, *(delivery(number) for number in range(1, 20)))) == {None}

    assert run(story).batches == [[delivery(0)], [delivery(number) for number in range(1, 20)]]


def test_simultaneous_deliveries_go_together() -> None:
    async def story(store: RecordingStore) -> None:
        store.open.set()
        for _ in range(2):
            await asyncio.gather(*(store.commit.keep(delivery(number)) for number in range(3)))

    assert run(story).sizes == [3, 3]


def test_a_round_trip_is_bounded_in_bytes() -> None:
    async def story(store: RecordingStore) -> None:
        await keep_behind_a_running_write(store, *(delivery(number, THIRD) for number in range(1, 7)))

    assert run(story).sizes == [1, 3, 3]


def test_a_round_trip_is_bounded_in_deliveries() -> None:
    async def story(store: RecordingStore) -> None:
        await keep_behind_a_running_write(store, *(delivery(number) for number in range(1, MAX_DELIVERIES + 2)))

    assert run(story).sizes == [1, MAX_DELIVERIES, 1]


def test_a_body_over_the_bound_goes_alone() -> None:
    async def story(store: RecordingStore) -> None:
        await keep_behind_a_running_write(store, delivery(1), delivery(2, b"x" * (MAX_BYTES + 1)), delivery(3))

    assert run(story).sizes == [1, 1, 1, 1]


def test_a_refusal_affects_one_request_and_is_no_failure() -> None:
    async def story(store: RecordingStore) -> None:
        store.refused = {delivery(2).id}
        heard = await keep_behind_a_running_write(store, *(delivery(number) for number in (1, 2, 3)))
        assert [type(each) for each in heard] == [type(None), type(None), StoreUnavailable, type(None)]

    assert run(story).failures == []


def test_a_failure_is_raised_to_all_that_wait_after_one_try() -> None:
    async def story(store: RecordingStore) -> None:
        store.failure = ZeroDivisionError("a bug, or whatever it was")
        heard = await keep_behind_a_running_write(store, *(delivery(number) for number in range(1, 10)))
        assert [str(each) for each in heard] == ["a bug, or whatever it was"] * 10
        assert {type(each) for each in heard} == {StoreUnavailable}

    store = run(story)
    assert (store.sizes, store.failures) == ([1], [store.failure])


def test_commits_continue_after_a_failure() -> None:
    async def story(store: RecordingStore) -> None:
        store.failure = StoreUnavailable("gone")
        await keep_behind_a_running_write(store)
        store.failure = None
        await store.commit.keep(delivery(1))

    assert run(story).batches[-1] == [delivery(1)]


def test_a_cancelled_request_does_not_affect_others() -> None:
    async def story(store: RecordingStore) -> None:
        first, second = (asyncio.create_task(store.commit.keep(delivery(number))) for number in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        store.open.set()
        assert await second is None  # type: ignore[func-returns-value]
        assert first.cancelled()

    assert run(story).sizes == [2]
