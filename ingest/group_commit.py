"""Lets requests that wait at the same moment share one round trip to a store.

One writes for all, a thread or a task of the event loop. Requests that take turns at writing spend more time on handing
the turn on than on the round trip itself (docs/architecture.md).
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ingest.outage import Outage
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.store import LoopStore, Store
    from shared.models import Delivery

MAX_DELIVERIES = 256
MAX_BYTES = 2**20  # of bodies in one round trip; a larger one goes alone


class Ticket(NamedTuple):
    """One request's place among those that wait."""

    delivery: Delivery
    settle: Callable[[Exception | None], None]


class GroupCommit(ABC):
    """The requests' way to one store. How long a write may take is the store's to bound."""

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        self._name = name
        self._check = check
        self._outage = Outage(name, check)
        self._waiting: deque[Ticket] = deque()

    def submit(self, delivery: Delivery, settle: Callable[[Exception | None], None]) -> None:
        """Return at once; `settle` hears from any thread, once: None when it is kept, or why it may not be."""
        if (reason := self._outage.reason) is not None:
            settle(StoreUnavailable(reason))
            return
        self._waiting.append(Ticket(delivery, settle))
        self._wake()

    def check(self) -> None:
        """Raise StoreUnavailable unless the store takes writes now."""
        if (reason := self._outage.reason) is not None:
            raise StoreUnavailable(reason)
        self._check()

    @abstractmethod
    def _wake(self) -> None:
        """Have what waits written."""

    def _next_batch(self) -> list[Ticket]:
        """What goes into one round trip; empty when nobody waits."""
        batch: list[Ticket] = []
        size = 0
        while self._waiting and len(batch) < MAX_DELIVERIES:
            size += len(self._waiting[0].delivery.body)
            if batch and size > MAX_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _fail(self, batch: list[Ticket], cause: Exception) -> None:
        """Tell all: those who came before it was known do not pay for finding out again."""
        self._outage.begin(cause)
        _settle(batch, [cause] * len(batch))
        while others := self._next_batch():
            _settle(others, [StoreUnavailable(str(cause))] * len(others))


class InThread(GroupCommit):
    """Written by one thread; for many threads that submit."""

    def __init__(self, name: str, store: Store) -> None:
        super().__init__(name, store.check)
        self._store = store
        self._some = threading.Event()
        self._started = threading.Lock()

    def _wake(self) -> None:
        self._some.set()
        if self._started.acquire(blocking=False):  # here and not at the start: threads do not survive a fork
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while self._some.wait():
            self._some.clear()
            while batch := self._next_batch():
                self._write(batch)
                del batch  # waiting for the next must not keep these bodies

    def _write(self, batch: list[Ticket]) -> None:
        try:
            refusals = self._store.put([ticket.delivery for ticket in batch])
        except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            self._fail(batch, exc)
        else:
            _settle(batch, refusals)


class InLoop(GroupCommit):
    """Written by a task of the running event loop, which alone submits."""

    def __init__(self, name: str, store: LoopStore) -> None:
        super().__init__(name, store.check)
        self._store = store
        self._writer: asyncio.Task[None] | None = None

    def _wake(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while batch := self._next_batch():
            try:
                refusals = await self._store.put([ticket.delivery for ticket in batch])
            except Exception as exc:  # noqa: BLE001 - as above
                self._fail(batch, exc)
            else:
                _settle(batch, refusals)


def _settle(batch: list[Ticket], refusals: Sequence[Exception | None]) -> None:
    for ticket, refusal in zip(batch, refusals, strict=True):
        ticket.settle(refusal)
