"""The same sharing of round trips when the event loop itself writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.group_commit import InLoop
from shared.errors import StoreUnavailable
from tests.unit.door.test_group_commit import delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.models import Delivery


class Remembering:
    """A store that takes its time, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.batches: list[int] = []
        self.failure = failure

    async def put(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        self.batches.append(len(deliveries))
        await asyncio.sleep(0.001)
        if self.failure:
            raise self.failure
        return [None] * len(deliveries)

    def check(self) -> None:
        raise StoreUnavailable("still away")


def heard(store: Remembering, *rounds: int) -> list[Exception | None]:
    """Submit so many at once, again and again before the first is done, and once more when all are."""
    answers: list[Exception | None] = []

    async def story() -> None:
        commit = InLoop("test", store)
        for count in rounds:
            for number in range(count):
                commit.submit(delivery(number), answers.append)
            await asyncio.sleep(0)
        while len(answers) < sum(rounds):
            await asyncio.sleep(0.001)
        commit.submit(delivery(99), answers.append)
        while len(answers) < sum(rounds) + 1:
            await asyncio.sleep(0.001)

    asyncio.run(story())
    return answers


def test_those_of_one_moment_go_together_and_later_ones_after_them() -> None:
    store = Remembering()
    assert heard(store, 3, 2, 2) == [None] * 8
    assert store.batches == [3, 4, 1]


def test_a_failure_is_told_to_all_and_costs_one_try() -> None:
    store = Remembering(StoreUnavailable("gone"))
    answers = heard(store, 3, 2, 2)
    assert [str(answer) for answer in answers] == ["gone"] * 8
    assert store.batches == [3]
