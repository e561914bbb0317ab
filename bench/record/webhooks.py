"""Webhooks about messages as Front sends them: five recipients, one file, of any tenant."""

from __future__ import annotations

import json
import random
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bench.record.cases import TENANTS
from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

API = "https://harbour-joinery.front.example"
WORDS = ("quote", "staircase", "drawing", "invoice", "delivery", "Thursday", "thanks", "attached", "please", "order")
#: Of the text in a body; with all the rest it has about three thousand bytes.
TEXT_WORDS = (60, 250)


def deliveries(count: int, *, addresses: int, seed: int) -> Iterator[Delivery]:
    """Different each, the same for the same seed but for time and delivery id."""
    chance = random.Random(seed)
    for _ in range(count):
        body = json.dumps(_envelope(chance, addresses)).encode()
        yield Delivery(id=uuid.uuid4().hex, received_at=datetime.now(UTC), body=body)


def address(number: int) -> str:
    """The address of user `number`, as bench/record/filling.py stores it."""
    return f"u{number}@acme.example"


def company(tenant: int) -> str:
    """The company of tenant 1 to TENANTS."""
    return f"cmp_{tenant}"


def _envelope(chance: random.Random, addresses: int) -> dict[str, Any]:
    tenant = chance.randint(1, TENANTS)
    conversation, message = _id(chance, "cnv"), _id(chance, "msg")
    payload = {
        "_links": {"self": f"{API}/events/evt"},
        "id": _id(chance, "evt"),
        "type": "inbound",
        "emitted_at": round(time.time(), 3),
        "conversation": _conversation(conversation),
        "source": {"_meta": {"type": "inboxes"}, "data": [{"id": "inb_d93kq", "name": "Workshop", "is_public": True}]},
        "target": {
            "_meta": {"type": "message"},
            "data": _message(chance, message, _handles(chance, tenant, addresses)),
        },
    }
    return {"type": "inbound_received", "authorization": {"id": company(tenant)}, "payload": payload}


def _conversation(id_: str) -> dict[str, Any]:
    related = {name: f"{API}/conversations/{id_}/{name}" for name in ("events", "followers", "messages", "inboxes")}
    return {
        "_links": {"self": f"{API}/conversations/{id_}", "related": related},
        "id": id_,
        "subject": "Staircase for Quay 4",
        "status": "unassigned",
        "assignee": None,
        "tags": [],
        "is_private": False,
    }


def _message(chance: random.Random, id_: str, handles: list[tuple[str, str]]) -> dict[str, Any]:
    file_id = _id(chance, "fil")
    return {
        "_links": {"self": f"{API}/messages/{id_}"},
        "id": id_,
        "type": "email",
        "is_inbound": True,
        "text": " ".join(chance.choices(WORDS, k=chance.randint(*TEXT_WORDS))),
        "recipients": [
            {"_links": {"related": {"contact": None}}, "name": None, "handle": handle, "role": role}
            for role, handle in handles
        ],
        "attachments": [
            {
                "id": file_id,
                "url": f"{API}/download/{file_id}",
                "filename": "drawing.pdf",
                "content_type": "application/pdf",
                "size": chance.randint(1_000, 900_000),
                "metadata": {"is_inline": False},
            }
        ],
    }


def _handles(chance: random.Random, tenant: int, addresses: int) -> list[tuple[str, str]]:
    """A sender, two whom the tenant has, two whom it has not."""
    own = [address(chance.randrange(addresses // TENANTS) * TENANTS + tenant) for _ in range(2)]
    strangers = [f"p{chance.getrandbits(32)}@elsewhere.example" for _ in range(3)]
    return list(zip(("from", "to", "to", "cc", "cc"), (strangers[0], *own, *strangers[1:]), strict=True))


def _id(chance: random.Random, kind: str) -> str:
    return f"{kind}_{chance.getrandbits(44):x}"
