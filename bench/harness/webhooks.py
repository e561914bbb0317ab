"""Webhooks as Front sends them: signed requests for a door, and bodies about messages for the recorder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/webhooks/front"
#: Requests are made before the measurement. Two alike are no advantage to any server, so this much is enough.
PREPARED_BYTES, PREPARED_AT_MOST = 8 * 2**20, 2_000

TENANTS = 1_000
API = "https://harbour-joinery.front.example"
WORDS = ("quote", "staircase", "drawing", "invoice", "delivery", "Thursday", "thanks", "attached", "please", "order")
#: Length of the text in words; the whole body then has about three thousand bytes.
TEXT_WORDS = (60, 250)


def signed_request(key: bytes, body: bytes, *headers: str) -> bytes:
    """Return a webhook's request as bytes on the wire, signed now."""
    at = str(int(time.time() * 1000))
    digest = hmac.new(key, f"{at}:".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {PATH} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        "Accept: */*",
        "User-Agent: Front",
        f"X-Front-Request-Timestamp: {at}",
        f"X-Front-Signature: {base64.b64encode(digest).decode()}",
        f"Content-Length: {len(body)}",
        *headers,
    )
    return "\r\n".join([*head, "", ""]).encode() + body


def signed_requests(key: bytes, body_bytes: int) -> list[bytes]:
    """Return different requests with bodies of this size."""
    count = min(PREPARED_AT_MOST, max(1, PREPARED_BYTES // body_bytes))
    return [signed_request(key, _filled_body(number, body_bytes)) for number in range(count)]


def _filled_body(number: int, size: int) -> bytes:
    """Return an envelope like Front's, filled with text that does not repeat itself."""
    payload = {"id": f"evt_bench{number}", "conversation": {"id": f"cnv_{number}"}, "text": ""}
    envelope = {"type": "inbound_received", "authorization": {"id": "cmp_bench"}, "payload": payload}
    missing = size - len(json.dumps(envelope))
    payload["text"] = secrets.token_hex(missing // 2 + 1)[:missing]
    return json.dumps(envelope).encode()


def deliveries(count: int, *, addresses: int, seed: int) -> Iterator[Delivery]:
    """Yield different deliveries about messages, each with five recipients and a file, of a random tenant.

    The same seed gives the same bodies, but for the times and ids of delivery.
    """
    chance = random.Random(seed)
    for _ in range(count):
        body = json.dumps(_envelope(chance, addresses)).encode()
        yield Delivery(id=uuid.uuid4().hex, received_at=datetime.now(UTC), body=body)


def incompressible_deliveries(count: int, *, addresses: int, seed: int) -> Iterator[Delivery]:
    """Yield the same with random text of the same length, which compression hardly makes smaller."""
    for delivery in deliveries(count, addresses=addresses, seed=seed):
        yield delivery._replace(body=_with_random_text(delivery.body))


def _with_random_text(body: bytes) -> bytes:
    envelope = json.loads(body)
    message = envelope["payload"]["target"]["data"]
    length = len(message["text"])
    message["text"] = secrets.token_urlsafe(length)[:length]
    return json.dumps(envelope).encode()


def address(number: int) -> str:
    """Return the address of user `number`, as bench/record/database.py stores it."""
    return f"u{number}@acme.example"


def company(tenant: int) -> str:
    """Return the company of tenant 1 to TENANTS."""
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
    """Return a sender, two users of the tenant and two strangers, with their roles."""
    own = [address(chance.randrange(addresses // TENANTS) * TENANTS + tenant) for _ in range(2)]
    strangers = [f"p{chance.getrandbits(32)}@elsewhere.example" for _ in range(3)]
    return list(zip(("from", "to", "to", "cc", "cc"), (strangers[0], *own, *strangers[1:]), strict=True))


def _id(chance: random.Random, kind: str) -> str:
    return f"{kind}_{chance.getrandbits(44):x}"
