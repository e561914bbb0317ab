"""Lets requests that wait at the same moment share one round trip to a store.

One thread writes for all. Requests that take turns at writing spend more time on handing the turn on than on the round
trip itself (docs/architecture.md).
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from ingest.outage import Outage
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.store import Store
    from shared.models import Delivery

MAX_DELIVERIES = 256
MAX_BYTES = 2**20  # of bodies in one round trip; a larger one goes alone


class Ticket(NamedTuple):
    """One request's place among those that wait."""

    delivery: Delivery
    settle: Callable[[Exception | None], None]


class GroupCommit:
    """The requests' way to one store; for many threads. How long a write may take is the store's to bound."""

    def __init__(self, name: str, store: Store) -> None:
        self._name = name
        self._store = store
        self._outage = Outage(name, store.check)
        self._waiting: SimpleQueue[Ticket] = SimpleQueue()
        self._left_over: Ticket | None = None
        self._started = threading.Lock()

    def submit(self, delivery: Delivery, settle: Callable[[Exception | None], None]) -> None:
        """Return at once; `settle` hears from any thread, once: None when it is kept, or why it may not be."""
        if (reason := self._outage.reason) is not None:
            settle(StoreUnavailable(reason))
            return
        self._waiting.put(Ticket(delivery, settle))
        if self._started.acquire(blocking=False):  # here and not at the start: threads do not survive a fork
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def check(self) -> None:
        """Raise StoreUnavailable unless the store takes writes now."""
        if (reason := self._outage.reason) is not None:
            raise StoreUnavailable(reason)
        self._store.check()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            # Those who came before it was known that the store is away do not pay for finding out again.
            reason = self._outage.reason
            refusals = self._write(batch) if reason is None else [StoreUnavailable(reason)] * len(batch)
            for ticket, refusal in zip(batch, refusals, strict=True):
                ticket.settle(refusal)
            del batch, refusals, ticket, refusal  # waiting for the next must not keep these bodies

    def _next_batch(self) -> list[Ticket]:
        """Wait for one, and take what else is there."""
        batch = [self._left_over or self._waiting.get()]
        self._left_over = None
        size = len(batch[0].delivery.body)
        while len(batch) < MAX_DELIVERIES:
            try:
                ticket = self._waiting.get_nowait()
            except Empty:
                break
            size += len(ticket.delivery.body)
            if size > MAX_BYTES:
                self._left_over = ticket
                break
            batch.append(ticket)
        return batch

    def _write(self, batch: list[Ticket]) -> Sequence[Exception | None]:
        try:
            return self._store.put([ticket.delivery for ticket in batch])
        except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            self._outage.begin(exc)
            return [exc] * len(batch)
