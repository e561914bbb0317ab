"""Lets requests that wait at the same moment share one round trip to a store.

One task writes for all. Requests that take turns at writing spend more time on handing the turn on than on the round
trip itself (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from shared.models import Delivery

MAX_DELIVERIES = 256
MAX_BYTES = 2**20  # of bodies in one round trip; a larger one goes alone


class Ticket(NamedTuple):
    """One request's place among those that wait; `settled` gets None, or the reason of a refusal."""

    delivery: Delivery
    settled: asyncio.Future[Exception | None]


class GroupCommit:
    """The requests' way to one store.

    `put` gives for each delivery None or why it was refused, in a time that it bounds itself. When it raises, all that
    wait are refused, and `failed` hears why.
    """

    def __init__(
        self,
        put: Callable[[Sequence[Delivery]], Awaitable[Sequence[Exception | None]]],
        *,
        failed: Callable[[Exception], None],
    ) -> None:
        self._put = put
        self._failed = failed
        self._waiting: deque[Ticket] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def keep(self, delivery: Delivery) -> None:
        """Return when the delivery is kept. Raises the store's refusal, or StoreUnavailable."""
        loop = asyncio.get_running_loop()
        ticket = Ticket(delivery, loop.create_future())
        self._waiting.append(ticket)
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._write())
        if (refusal := await ticket.settled) is not None:
            raise refusal

    async def _write(self) -> None:
        while batch := self._next_batch():
            try:
                refusals = await self._put([ticket.delivery for ticket in batch])
            except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it
                self._failed(exc)
                self._refuse_all(batch, str(exc))
            else:
                _settle(batch, refusals)

    def _next_batch(self) -> list[Ticket]:
        """Return the deliveries of one round trip; empty when nobody waits."""
        batch: list[Ticket] = []
        size = 0
        while self._waiting and len(batch) < MAX_DELIVERIES:
            size += len(self._waiting[0].delivery.body)
            if batch and size > MAX_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _refuse_all(self, batch: list[Ticket], reason: str) -> None:
        """Those who came before it was known do not pay for finding out again."""
        everybody = [*batch, *self._waiting]
        self._waiting.clear()
        _settle(everybody, [StoreUnavailable(reason) for _ in everybody])


def _settle(batch: Sequence[Ticket], refusals: Sequence[Exception | None]) -> None:
    for ticket, refusal in zip(batch, refusals, strict=True):
        if not ticket.settled.done():  # given up by its request
            ticket.settled.set_result(refusal)
