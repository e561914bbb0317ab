"""One order carried out: how many events, when, in what order, and what became of each."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

from sandbox.models import EVENT_TYPES
from sandbox.webhook_sender import Parcel

if TYPE_CHECKING:
    from sandbox.courier import Courier
    from sandbox.front import Front
    from sandbox.models import WebhookEvent
    from sandbox.send_request import SendRequest
    from sandbox.serializers import Serializer
    from sandbox.webhook_sender import Sender


class Job:
    """Events of one order. Those that are not delivered happen, and nobody is told."""

    def __init__(self, front: Front, order: SendRequest, job_id: str, chance: random.Random) -> None:
        self.id = job_id
        self._front = front
        self._order = order
        self._chance = chance
        self._is_told = order.deliver and not front.is_private(order.company, order.inbox)
        self._parcels = [self._parcel(webhook_type) for webhook_type in self._types()]
        self._courier: Courier[Parcel] | None = None
        self._done = threading.Event()

    def start(self, sender: Sender) -> None:
        """Send, and return when every event has been delivered or given up."""
        told = [parcel for parcel in self._parcels if not self._is_dropped()]
        if self._order.shuffle or len(told) < len(self._parcels):
            for parcel in self._parcels:
                parcel.come_about()
        if told:
            self._send(sender, told)
        self._done.set()

    @property
    def open(self) -> int:
        """How many of its events are neither acknowledged nor given up."""
        if self._done.is_set():
            return 0
        return self._courier.open if self._courier else len(self._parcels)

    def report(self) -> dict[str, Any]:
        """Progress and the outcome of each event so far."""
        events = [parcel.outcome() for parcel in self._parcels]
        acknowledged = sum(event["acknowledged"] for event in events)
        return {
            "job": self.id,
            "done": self._done.is_set(),
            "count": len(events),
            "acknowledged": acknowledged,
            "events": events,
        }

    def _types(self) -> list[str]:
        if self._order.type != "mixed":
            return [self._order.type] * self._order.count
        # Mail is what there is most of; the rest happens to it.
        names = [*EVENT_TYPES, *["inbound_received"] * len(EVENT_TYPES)]
        return [self._chance.choice(names) for _ in range(self._order.count)]

    def _parcel(self, webhook_type: str) -> Parcel:
        def make() -> tuple[WebhookEvent, Serializer]:
            return self._front.stage(self._order, webhook_type)

        return Parcel(make=make, fault=self._order.fault)

    def _is_dropped(self) -> bool:
        """Whether this webhook is never sent."""
        return not self._is_told or (self._order.dropped > 0 and self._chance.random() < self._order.dropped)

    def _send(self, sender: Sender, parcels: list[Parcel]) -> None:
        courier = self._courier = sender.courier(self._order.threads)
        order = list(range(len(parcels)))
        if self._order.shuffle:
            self._chance.shuffle(order)
        for place, index in enumerate(order):
            after = place / self._order.rate if self._order.rate else 0.0
            for _ in range(self._copies()):
                courier.post(parcels[index], after)
        courier.wait()
        courier.close()

    def _copies(self) -> int:
        whole, part = divmod(self._order.duplicates, 1)
        extra = int(whole) + (self._chance.random() < part)
        return 1 + max(extra, self._order.fault == "duplicate")


class Jobs:
    """All orders of this sandbox, by id."""

    def __init__(self, front: Front, sender: Sender, seed: int | None) -> None:
        self._front = front
        self._sender = sender
        self._chance = random.Random(seed)
        self._jobs: dict[str, Job] = {}

    def start(self, order: SendRequest) -> dict[str, Any]:
        """Carry an order out; its report, complete if it was to be waited for."""
        chance = random.Random(self._chance.random())
        job = Job(self._front, order, self._front.world.ids.new("job"), chance)
        self._jobs[job.id] = job
        thread = threading.Thread(target=job.start, args=(self._sender,), daemon=True, name=job.id)
        thread.start()
        if order.wait:
            thread.join()
        return job.report()

    def report(self, job_id: str) -> dict[str, Any] | None:
        """What is known of an order; None if there is no such job."""
        job = self._jobs.get(job_id)
        return job.report() if job else None

    def open(self) -> int:
        """How many events are still to be delivered."""
        return sum(job.open for job in list(self._jobs.values()))
