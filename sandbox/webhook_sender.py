"""Sends webhooks as Front does: signed, with a timeout of a few seconds, a few tries, and then never again."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import requests

from sandbox.ledger import DeliveryAttempt
from sandbox.models import APPLICATION_EVENTS
from sandbox.webhooks import compact_json, webhook_body, webhook_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.ledger import Ledger
    from sandbox.models import WebhookEvent
    from sandbox.send_request import SendRequest
    from sandbox.serializers import Serializer
    from sandbox.settings import SandboxSettings
    from sandbox.world import World

    MakeEvent = Callable[[], tuple[WebhookEvent, Serializer]]
    MakeRequestedEvent = Callable[[SendRequest, str], tuple[WebhookEvent, Serializer]]

Item = TypeVar("Item")


class DeliveryQueue(Generic[Item]):
    """Threads that deliver items when they are due.

    They call `attempt(item, number)` until it returns True, at most `tries` times. An item that waits for its next try
    holds no thread. `close()` ends the threads.
    """

    def __init__(self, attempt: Callable[[Item, int], bool], *, threads: int, tries: int, retry_seconds: float) -> None:
        self._attempt = attempt
        self._tries = tries
        self._retry_seconds = retry_seconds
        self._due: list[tuple[float, int, Item, int]] = []
        self._order = itertools.count()
        self._open = 0
        self._closed = False
        self._changed = threading.Condition()
        for _ in range(threads):
            threading.Thread(target=self._run, daemon=True, name="delivery").start()

    def put(self, item: Item, after: float = 0.0) -> None:
        """Deliver an item `after` seconds."""
        with self._changed:
            self._open += 1
            self._push(item, after, 1)

    @property
    def open(self) -> int:
        """The number of items neither delivered nor given up."""
        return self._open

    def wait(self) -> None:
        """Return when no item is open any more, or the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._open == 0 or self._closed)

    def close(self) -> None:
        """Deliver nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _push(self, item: Item, after: float, number: int) -> None:
        heapq.heappush(self._due, (time.monotonic() + after, next(self._order), item, number))
        self._changed.notify()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            item, number = taken
            done = self._attempt(item, number) or number >= self._tries
            with self._changed:
                if done:
                    self._open -= 1
                    self._changed.notify_all()
                else:
                    self._push(item, self._retry_seconds, number + 1)

    def _take(self) -> tuple[Item, int] | None:
        """Wait for the next item that is due; None when the queue is closed."""
        with self._changed:
            while not self._closed:
                wait = self._due[0][0] - time.monotonic() if self._due else None
                if wait is not None and wait <= 0:
                    _, _, item, number = heapq.heappop(self._due)
                    return item, number
                self._changed.wait(wait)
        return None


@dataclass
class Delivery:
    """The delivery of one event. The event happens when its delivery is due, or at the call of `make_event` before."""

    make: MakeEvent
    fault: str | None = None
    webhook_event: WebhookEvent | None = None
    serializer: Serializer | None = None
    status: int | str | None = None
    acknowledged: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make_event(self) -> tuple[WebhookEvent, Serializer]:
        """Let the event happen, unless it has happened already."""
        with self.lock:
            if self.webhook_event is None or self.serializer is None:
                self.webhook_event, self.serializer = self.make()
            return self.webhook_event, self.serializer

    def id_and_body(self) -> tuple[str, bytes]:
        """The event's id and raw body, the same for each copy and each try."""
        webhook_event, serializer = self.make_event()
        # Serialized anew for each try: 50,000 bodies would not fit into memory.
        return webhook_event.event.id, webhook_body(serializer, webhook_event, self.fault)

    def outcome(self) -> dict[str, Any]:
        """The outcome, as the control API reports it."""
        if self.webhook_event is None:
            return {"event_id": None, "status": None, "acknowledged": False}
        message = self.webhook_event.message
        return {
            "event_id": self.webhook_event.event.id,
            "type": self.webhook_event.webhook_type,
            "conversation_id": self.webhook_event.event.conversation.id,
            "message_id": message.id,
            "attachment_ids": [each.id for each in message.attachments],
            "status": self.status,
            "acknowledged": self.acknowledged,
        }


class WebhookSender:
    """Sends webhooks to the door, and records each attempt in the ledger. Each attempt is signed anew."""

    def __init__(self, settings: SandboxSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._local = threading.local()
        self._background = self.queue(4)

    def queue(self, threads: int) -> DeliveryQueue[Delivery]:
        """Make a queue with threads of its own. The caller has to close it."""
        settings = self._settings
        return DeliveryQueue(self._deliver, threads=threads, tries=settings.tries, retry_seconds=settings.retry_seconds)

    def send_in_background(self, make: MakeEvent) -> None:
        """Send an event, and return at once."""
        self._background.put(Delivery(make=make))

    def challenge(self, company_id: str) -> dict[str, Any]:
        """Send the challenge with which Front verifies the address of a new webhook, and report the response."""
        body = compact_json({"type": "sync", "authorization": {"id": company_id}})
        token = f"{random.getrandbits(64):016x}"
        headers = {**webhook_headers(self._settings.signing_key, body, _now_ms()), "X-Front-Challenge": token}
        try:
            response = self._session().post(self._settings.door, data=body, headers=headers, timeout=10)
        except requests.RequestException as exc:
            return {"challenge": token, "status": _failure(exc), "body": None, "echoed": False}
        echoed = response.ok and token in response.text
        return {"challenge": token, "status": response.status_code, "body": response.text, "echoed": echoed}

    def close(self) -> None:
        """Send nothing more in the background."""
        self._background.close()

    def _deliver(self, delivery: Delivery, number: int) -> bool:
        event_id, body = delivery.id_and_body()
        at, started = time.time(), time.monotonic()
        status = self._post(body, delivery.fault)
        attempt = DeliveryAttempt(
            at=at,
            event_id=event_id,
            number=number,
            status=status,
            seconds=round(time.monotonic() - started, 5),
        )
        self._ledger.record_attempt(attempt)
        delivery.status = status
        delivery.acknowledged = delivery.acknowledged or attempt.acknowledged
        return attempt.acknowledged

    def _post(self, body: bytes, fault: str | None) -> int | str:
        """Return the status of the response, or the word for why there is none."""
        try:
            response = self._session().post(
                self._settings.door,
                data=body,
                headers=webhook_headers(self._settings.signing_key, body, _now_ms(), fault),
                timeout=self._settings.delivery_seconds,
                allow_redirects=False,
            )
        except requests.RequestException as exc:
            return _failure(exc)
        return response.status_code

    def _session(self) -> requests.Session:
        """The HTTP session of this thread."""
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session


def _failure(exc: requests.RequestException) -> str:
    if isinstance(exc, requests.Timeout):
        return "timeout"
    if "Connection refused" in str(exc):
        return "refused"
    return "reset"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SendJob:
    """The work of one send request. An event whose webhook is dropped happens without one."""

    def __init__(
        self,
        request: SendRequest,
        job_id: str,
        *,
        make_event: MakeRequestedEvent,
        is_private: bool,
        rng: random.Random,
    ) -> None:
        self.id = job_id
        self._request = request
        self._make_event = make_event
        self._rng = rng
        self._is_delivered = request.deliver and not is_private
        self._deliveries = [self._delivery(webhook_type) for webhook_type in self._types()]
        self._queue: DeliveryQueue[Delivery] | None = None
        self._done = threading.Event()

    def run(self, sender: WebhookSender) -> None:
        """Send, and return when every event has been delivered or given up."""
        sent = [delivery for delivery in self._deliveries if not self._is_dropped()]
        if self._request.shuffle or len(sent) < len(self._deliveries):
            for delivery in self._deliveries:
                delivery.make_event()
        if sent:
            self._send(sender, sent)
        self._done.set()

    @property
    def open(self) -> int:
        """The number of events neither acknowledged nor given up."""
        if self._done.is_set():
            return 0
        return self._queue.open if self._queue else len(self._deliveries)

    def report(self) -> dict[str, Any]:
        """Progress, and the outcome of each event so far."""
        events = [delivery.outcome() for delivery in self._deliveries]
        return {
            "job": self.id,
            "done": self._done.is_set(),
            "count": len(events),
            "acknowledged": sum(event["acknowledged"] for event in events),
            "events": events,
        }

    def _types(self) -> list[str]:
        if self._request.type != "mixed":
            return [self._request.type] * self._request.count
        # New mail is the most frequent event, as in a real company.
        choices = [*APPLICATION_EVENTS, *["inbound_received"] * len(APPLICATION_EVENTS)]
        return [self._rng.choice(choices) for _ in range(self._request.count)]

    def _delivery(self, webhook_type: str) -> Delivery:
        return Delivery(make=lambda: self._make_event(self._request, webhook_type), fault=self._request.fault)

    def _is_dropped(self) -> bool:
        return not self._is_delivered or (self._request.dropped > 0 and self._rng.random() < self._request.dropped)

    def _send(self, sender: WebhookSender, deliveries: list[Delivery]) -> None:
        queue = self._queue = sender.queue(self._request.threads)
        order = list(range(len(deliveries)))
        if self._request.shuffle:
            self._rng.shuffle(order)
        for place, index in enumerate(order):
            after = place / self._request.rate if self._request.rate else 0.0
            for _ in range(self._copies()):
                queue.put(deliveries[index], after)
        queue.wait()
        queue.close()

    def _copies(self) -> int:
        whole, part = divmod(self._request.duplicates, 1)
        extra = int(whole) + (self._rng.random() < part)
        return 1 + max(extra, self._request.fault == "duplicate")


class SendJobs:
    """All jobs of this sandbox, by id. `make_event` lets a requested event of a webhook type happen."""

    def __init__(self, world: World, sender: WebhookSender, make_event: MakeRequestedEvent, seed: int | None) -> None:
        self._world = world
        self._sender = sender
        self._make_event = make_event
        self._rng = random.Random(seed)
        self._jobs: dict[str, SendJob] = {}

    def start(self, request: SendRequest) -> dict[str, Any]:
        """Start a job and return its report: a complete one if the request says `wait`."""
        company = self._world.companies[request.company]
        job = SendJob(
            request,
            self._world.ids.new("job"),
            make_event=self._make_event,
            is_private=any(inbox.is_private for inbox in company.inboxes if inbox.id == request.inbox),
            rng=random.Random(self._rng.random()),
        )
        self._jobs[job.id] = job
        thread = threading.Thread(target=job.run, args=(self._sender,), daemon=True, name=job.id)
        thread.start()
        if request.wait:
            thread.join()
        return job.report()

    def report(self, job_id: str) -> dict[str, Any] | None:
        """The report of a job, or None if there is no such job."""
        job = self._jobs.get(job_id)
        return job.report() if job else None

    def open(self) -> int:
        """The number of events of all jobs that are still to be delivered."""
        return sum(job.open for job in list(self._jobs.values()))
