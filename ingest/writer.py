"""Lets requests share one round trip to a store, and never wait for it longer than they may.

One thread does the writing. What arrives while it is busy goes out together with its next round trip (group commit).
A store that hangs holds up that one thread only: whoever comes then is told at once, and so is everybody after a
failure until the thread has found the store well again. No request pays for finding out.
"""

from __future__ import annotations

import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

import structlog

from shared import metrics
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shared.models import Delivery

log = structlog.get_logger(__name__)

MAX_DELIVERIES = 256
MAX_BYTES = 2**20  # of bodies in one round trip; a single larger one goes alone
PROBE_EVERY = 0.5  # seconds


class Store(Protocol):
    """What a writer writes to. Only the writer's thread calls it."""

    def put(self, deliveries: Sequence[Delivery]) -> Sequence[Exception | None]:
        """Keep each; give the reason for those refused. Raises StoreUnavailable when nothing is known of any."""

    def check(self) -> None:
        """Raise StoreUnavailable unless `put` would work now."""


class Ticket:
    """One request's place in the queue; without a delivery it only asks whether the store is well."""

    __slots__ = ("abandoned", "delivery", "done", "refusal")

    def __init__(self, delivery: Delivery | None) -> None:
        self.delivery = delivery
        self.refusal: Exception | None = None
        self.abandoned = False
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self, refusal: Exception | None) -> None:
        """Let the request go on; it raises where there is a refusal."""
        self.refusal = refusal
        self.done.release()

    def abandon(self) -> None:
        """Nobody waits any more: let go of the body, however long the store hangs."""
        self.abandoned = True
        self.delivery = None


class Writer:
    """The door's way to one store. `patience` is how long, in seconds, a request waits for it."""

    def __init__(self, name: str, store: Store, *, patience: float) -> None:
        self.name = name
        self._store = store
        self._patience = patience
        self._queue: SimpleQueue[Ticket] = SimpleQueue()
        self._away: str | None = None
        self._busy_since: float | None = None
        self._started = threading.Lock()

    def put(self, delivery: Delivery) -> None:
        """Return when it is kept. Raises StoreUnavailable; if time ran out it may be kept all the same."""
        self._hand_in(Ticket(delivery))

    def check(self) -> None:
        """Raise StoreUnavailable unless the store takes writes now."""
        self._hand_in(Ticket(None))

    def _hand_in(self, ticket: Ticket) -> None:
        self._refuse_while_away()
        if self._started.acquire(blocking=False):  # here and not at the start: threads do not survive a fork
            threading.Thread(target=self._run, name=f"{self.name}-writer", daemon=True).start()
        self._queue.put(ticket)
        if not ticket.done.acquire(timeout=self._patience):
            ticket.abandon()
            raise StoreUnavailable(f"no answer from the {self.name} within {self._patience} s")
        if ticket.refusal:
            raise StoreUnavailable(str(ticket.refusal)) from ticket.refusal

    def _refuse_while_away(self) -> None:
        if self._away:
            raise StoreUnavailable(self._away)
        busy_since = self._busy_since
        if busy_since is not None and time.monotonic() - busy_since > self._patience:
            raise StoreUnavailable(f"the {self.name} hangs")

    def _run(self) -> None:
        while True:
            self._serve(self._next_batch())
            while self._away:
                self._refuse_waiting()
                time.sleep(PROBE_EVERY)
                self._look_again()

    def _next_batch(self) -> list[Ticket]:
        batch = [self._queue.get()]
        size = _size(batch[0])
        while len(batch) < MAX_DELIVERIES and size < MAX_BYTES:
            try:
                batch.append(self._queue.get_nowait())
            except Empty:
                break
            size += _size(batch[-1])
        return batch

    def _serve(self, batch: list[Ticket]) -> None:
        holding = [(ticket, delivery) for ticket in batch if (delivery := ticket.delivery)]
        if holding:
            deliveries = [delivery for _, delivery in holding]
            self._settle([ticket for ticket, _ in holding], lambda: self._store.put(deliveries))
        asking = [ticket for ticket in batch if ticket.delivery is None and not ticket.abandoned]
        if asking:
            self._settle(asking, lambda: self._check_for(asking))

    def _check_for(self, tickets: list[Ticket]) -> Sequence[None]:
        self._store.check()
        return [None] * len(tickets)

    def _settle(self, tickets: list[Ticket], use: Callable[[], Sequence[Exception | None]]) -> None:
        self._busy_since = time.monotonic()
        try:
            refusals = use()
        except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it and the thread go on
            self._note_away(exc)
            refusals = [exc] * len(tickets)
        finally:
            self._busy_since = None
        for ticket, refusal in zip(tickets, refusals, strict=True):
            ticket.settle(refusal)

    def _refuse_waiting(self) -> None:
        while True:
            try:
                self._queue.get_nowait().settle(StoreUnavailable(self._away or ""))
            except Empty:
                return

    def _look_again(self) -> None:
        try:
            self._store.check()
        except Exception as exc:  # noqa: BLE001 - as above
            self._away = str(exc)
        else:
            self._away = None
            log.info("store is back", store=self.name)

    def _note_away(self, exc: Exception) -> None:
        self._away = str(exc)
        metrics.STORES_AWAY.labels(self.name).inc()
        log.warning("store is away", store=self.name, reason=str(exc), exc_info=not isinstance(exc, StoreUnavailable))


def _size(ticket: Ticket) -> int:
    delivery = ticket.delivery
    return len(delivery.body) if delivery else 0
