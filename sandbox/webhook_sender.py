"""Sends webhooks as Front does: signed, five seconds' patience, a few tries, then never again."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from sandbox.courier import Courier
from sandbox.ledger import Ledger, Try
from sandbox.webhooks import compact_json, webhook_body, webhook_headers

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.models import WebhookEvent
    from sandbox.serializers import Serializer
    from sandbox.settings import SandboxSettings


@dataclass
class Parcel:
    """An event on its way; it comes about only when it is due, unless it was made before."""

    make: Callable[[], tuple[WebhookEvent, Serializer]]
    fault: str | None = None
    webhook_event: WebhookEvent | None = None
    serializer: Serializer | None = None
    status: int | str | None = None
    acknowledged: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def prepare(self) -> tuple[str, bytes]:
        """The event's id and raw body; a duplicate and a retry get the same."""
        webhook_event, serializer = self.come_about()
        # Printed anew for each try: 50,000 serializer would not fit into memory.
        return webhook_event.event.id, webhook_body(serializer, webhook_event, self.fault)

    def come_about(self) -> tuple[WebhookEvent, Serializer]:
        """Let the event happen, if it has not."""
        with self.lock:
            if self.webhook_event is None or self.serializer is None:
                self.webhook_event, self.serializer = self.make()
            return self.webhook_event, self.serializer

    def outcome(self) -> dict[str, Any]:
        """What became of it, for the one who asked."""
        if self.webhook_event is None:
            return {"event_id": None, "status": None, "acknowledged": False}
        return {
            "event_id": self.webhook_event.event.id,
            "type": self.webhook_event.webhook_type,
            "conversation_id": self.webhook_event.event.conversation.id,
            "message_id": self.webhook_event.message.id,
            "attachment_ids": [each.id for each in self.webhook_event.message.attachments],
            "status": self.status,
            "acknowledged": self.acknowledged,
        }


class Sender:
    """Carries parcels to the door and writes every try into the ledger. Each try is signed anew."""

    def __init__(self, settings: SandboxSettings, ledger: Ledger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._session = threading.local()
        self._background = self.courier(4)

    def courier(self, threads: int) -> Courier[Parcel]:
        """A set of threads for one job."""
        settings = self._settings
        return Courier(self._deliver, threads=threads, tries=settings.tries, retry_seconds=settings.retry_seconds)

    def post_soon(self, make: Callable[[], tuple[WebhookEvent, Serializer]]) -> None:
        """Send an event in the background."""
        self._background.post(Parcel(make=make))

    def challenge(self, company_id: str) -> dict[str, Any]:
        """Ask the door to prove itself, as Front does when a webhook is saved."""
        body = compact_json({"type": "sync", "authorization": {"id": company_id}})
        token = f"{random.getrandbits(64):016x}"
        named = {**webhook_headers(self._settings.signing_key, body, _now_ms()), "X-Front-Challenge": token}
        try:
            response = self._http().post(self._settings.door, data=body, headers=named, timeout=10)
        except requests.RequestException as exc:
            return {"challenge": token, "status": _word(exc), "body": None, "echoed": False}
        echoed = response.ok and token in response.text
        return {"challenge": token, "status": response.status_code, "body": response.text, "echoed": echoed}

    def close(self) -> None:
        """Send nothing more in the background."""
        self._background.close()

    def _deliver(self, parcel: Parcel, number: int) -> bool:
        event_id, body = parcel.prepare()
        at, started = time.time(), time.monotonic()
        status = self._post(body, parcel.fault)
        attempt = Try(
            at=at,
            event_id=event_id,
            number=number,
            status=status,
            seconds=round(time.monotonic() - started, 5),
        )
        self._ledger.note_try(attempt)
        parcel.status = status
        parcel.acknowledged = parcel.acknowledged or attempt.acknowledged
        return attempt.acknowledged

    def _post(self, body: bytes, fault: str | None) -> int | str:
        named = webhook_headers(self._settings.signing_key, body, _now_ms(), fault)
        try:
            response = self._http().post(
                self._settings.door,
                data=body,
                headers=named,
                timeout=self._settings.delivery_seconds,
                allow_redirects=False,
            )
        except requests.RequestException as exc:
            return _word(exc)
        return response.status_code

    def _http(self) -> requests.Session:
        session: requests.Session | None = getattr(self._session, "http", None)
        if session is None:
            session = self._session.http = requests.Session()
            session.trust_env = False
        return session


def _word(exc: requests.RequestException) -> str:
    if isinstance(exc, requests.Timeout):
        return "timeout"
    if "Connection refused" in str(exc):
        return "refused"
    return "reset"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
