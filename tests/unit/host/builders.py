"""Facts of notifications for tests, and the schema that their bodies must fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator

from shared.host.body import Links
from shared.host.notification import Cursor, EventFacts, FileFacts, NotificationFacts, RecipientFacts, TenantFacts

DOCUMENT = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8"))
LINKS = Links(
    public_url="https://mail.acme.example",
    front_app_url="https://app.frontapp.com",
    secret_key=b"a-secret-of-this-test",
    expires_at=1_786_440_000,
)
AT = datetime(2026, 11, 30, 4, 1, 43, 120_000, tzinfo=UTC)
Check = Callable[[bytes], dict[str, Any]]


def checked(body: bytes) -> dict[str, Any]:
    """Return the document of a body that fits the committed schema of its type."""
    document: dict[str, Any] = json.loads(body)
    webhook = DOCUMENT["webhooks"][document["type"]]["post"]["requestBody"]["content"]["application/json"]["schema"]
    Draft202012Validator({**webhook, "components": DOCUMENT["components"]}).validate(document)
    return document


def webhook(event_type: str = "inbound_received", **message: Any) -> bytes:
    """Return the body of a webhook with this message."""
    whole = {
        "id": "msg_1",
        "type": "email",
        "is_inbound": True,
        "created_at": 1_786_440_000.5,
        "subject": "Staircase for Quay 4",
        "body": "<p>Please call.</p>",
        "text": "Please call.",
        "is_draft": False,
        "recipients": [
            {"handle": "ines@ferry-cafe.example", "name": "Ines Prado", "role": "from"},
            {"handle": "nora@acme.example", "name": None, "role": "to"},
        ],
        **message,
    }
    payload = {
        "id": "evt_1",
        "conversation": {"id": "cnv_1", "subject": "Staircase"},
        "source": {"_meta": {"type": "inboxes"}, "data": [{"id": "inb_1"}]},
        "target": {"_meta": {"type": "message"}, "data": whole},
    }
    return json.dumps({"type": event_type, "authorization": {"id": "cmp_1"}, "payload": payload}).encode()


def recipient(handle: str, role: str = "to", *, user: str | None = None) -> RecipientFacts:
    """Return a recipient, matched if a user is given."""
    name = f"User {user}" if user else None
    return RecipientFacts(handle=handle, role=role, reason="because", user_id=user, user_name=name)


def file(number: int = 1, state: str = "stored", **facts: Any) -> FileFacts:
    """Return a file."""
    stored = {"size": 84_213, "sha256": "ab" * 32} if state == "stored" else {"size": None, "sha256": None}
    usual = {
        "filename": "po.pdf",
        "content_type": "application/pdf",
        "declared_size": 84_213,
        "is_inline": False,
        **stored,
    }
    return FileFacts(number=number, id=f"fil_{number}", state=state, **{**usual, **facts})


def event(**facts: Any) -> EventFacts:
    """Return the event of a message for Nora."""
    usual: dict[str, Any] = {
        "number": 7,
        "front_id": "evt_1",
        "type": "inbound_received",
        "conversation_id": "cnv_1",
        "message_id": "msg_1",
        "emitted_at": AT,
        "received_at": AT,
        "body": webhook(),
        "recipients": [recipient("ines@ferry-cafe.example", "from"), recipient("nora@acme.example", user="17")],
    }
    return EventFacts(**{**usual, **facts})


def notification(notification_type: str = "message.received", **facts: Any) -> NotificationFacts:
    """Return the notification of a message for Nora."""
    usual: dict[str, Any] = {
        "id": UUID(int=1),
        "cursor": Cursor("f3k9", 184_233),
        "at": AT,
        "tenant": TenantFacts(id=7, name="Acme", customer="4711", company_id="cmp_1"),
        "event": event(),
        "attachment_id": None,
        "facts": {},
    }
    return NotificationFacts(type=notification_type, **{**usual, **facts})
