"""Lets requests that wait at the same moment share one round trip to a store.

The first one writes for all that wait (it leads, they follow) and then hands the lead on. A follower waits no longer
than its patience; a leader no longer than the store's own deadline, and then all who wait hear of the failure at once.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from ingest.outage import Outage
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.store import Store
    from shared.models import Delivery

MAX_DELIVERIES = 256
MAX_BYTES = 2**20  # of bodies in one round trip; a larger one goes alone


class Ticket:
    """One request's place among those that wait."""

    __slots__ = ("delivery", "leads", "refusal", "woken")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.leads = False
        self.refusal: Exception | None = None
        self.woken = threading.Lock()
        self.woken.acquire()

    def settle(self, refusal: Exception | None) -> None:
        """Let the request go on with the outcome of its delivery."""
        self.refusal = refusal
        self.woken.release()

    def lead(self) -> None:
        """Let the request go on and write for the next."""
        self.leads = True
        self.woken.release()


class GroupCommit:
    """The requests' way to one store; for many threads. `patience` is in seconds."""

    def __init__(self, name: str, store: Store, *, patience: float) -> None:
        self._name = name
        self._store = store
        self._patience = patience
        self._outage = Outage(name, store.check)
        self._lock = threading.Lock()
        self._waiting: deque[Ticket] = deque()
        self._led = False

    def put(self, delivery: Delivery) -> None:
        """Return when it is kept. Raises StoreUnavailable; if time ran out it may be kept all the same."""
        self._outage.refuse()
        ticket = Ticket(delivery)
        if self._takes_lead(ticket) or self._gets_lead(ticket):
            self._lead(ticket)
        if ticket.refusal is not None:
            raise StoreUnavailable(str(ticket.refusal)) from ticket.refusal

    def check(self) -> None:
        """Raise StoreUnavailable unless the store takes writes now."""
        self._outage.refuse()
        self._store.check()

    def _takes_lead(self, ticket: Ticket) -> bool:
        with self._lock:
            if self._led:
                self._waiting.append(ticket)
                return False
            self._led = True
            return True

    def _gets_lead(self, ticket: Ticket) -> bool:
        """Wait until the delivery is settled (False) or it is this request's turn (True)."""
        if not ticket.woken.acquire(timeout=self._patience):
            with self._lock:
                if ticket in self._waiting:
                    self._waiting.remove(ticket)
                if not ticket.leads:
                    raise StoreUnavailable(f"the {self._name} did not answer within {self._patience} s")
                ticket.woken.acquire()  # the lead came in this very moment, and must not be lost
        return ticket.leads

    def _lead(self, own: Ticket) -> None:
        try:
            self._write([own, *self._take_waiting(len(own.delivery.body))])
        finally:
            self._hand_on()

    def _take_waiting(self, size: int) -> list[Ticket]:
        batch: list[Ticket] = []
        with self._lock:
            while self._waiting and len(batch) < MAX_DELIVERIES - 1:
                size += len(self._waiting[0].delivery.body)
                if size > MAX_BYTES:
                    break
                batch.append(self._waiting.popleft())
        return batch

    def _write(self, batch: list[Ticket]) -> None:
        refusals: Sequence[Exception | None]
        try:
            refusals = self._store.put([ticket.delivery for ticket in batch])
        except Exception as exc:  # noqa: BLE001 - whatever it was, those who wait must hear of it
            self._outage.begin(exc)
            refusals = [exc] * len(batch)
            self._settle(self._take_all(), exc)
        for ticket, refusal in zip(batch, refusals, strict=True):
            ticket.settle(refusal)

    def _settle(self, tickets: Iterable[Ticket], refusal: Exception) -> None:
        for ticket in tickets:
            ticket.settle(refusal)

    def _take_all(self) -> list[Ticket]:
        with self._lock:
            everybody = list(self._waiting)
            self._waiting.clear()
        return everybody

    def _hand_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().lead()
            else:
                self._led = False
