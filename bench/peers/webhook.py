"""The parts that all peers share: the checks of a webhook, its contents, and the limits of a worker.

It needs nothing but the standard library. `server.js` and `worker.js` have the same checks and numbers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from dataclasses import dataclass

KEY = os.environ.get("FRONT_SIGNING_KEYS", "").encode()
MAX_BODY_BYTES = 10 * 2**20
MAX_AGE_SECONDS = 900
MAX_AHEAD_SECONDS = 60

#: Webhooks that a worker runs at a time, as Mailroom's worker does with its threads.
SLOTS = 16
#: One try and five retries, after 1, 2, 4, 8 and 16 seconds.
TRIES = 6
#: The wait for an answer of Front's.
TIMEOUT_SECONDS = 10.0
#: Until another worker gets the webhooks of a dead one. The longest backoff is shorter, or Celery would run one twice.
VISIBILITY_SECONDS = 30

RECEIVING = {"to", "cc", "bcc"}


def accepted(body: bytes, timestamp: str, signature: str) -> bool:
    """Tell whether these bytes were signed with our key, not too long ago."""
    digest = hmac.digest(KEY, timestamp.encode() + b":" + body, hashlib.sha256)
    return hmac.compare_digest(base64.b64encode(digest), signature.encode()) and _is_fresh(timestamp)


def _is_fresh(timestamp: str) -> bool:
    return timestamp.isdecimal() and -MAX_AHEAD_SECONDS <= time.time() - int(timestamp) / 1000 <= MAX_AGE_SECONDS


@dataclass(frozen=True, kw_only=True)
class Message:
    """The event, its conversation, and the addresses of its recipients."""

    event_id: str
    company_id: str
    conversation_id: str
    addresses: list[str]


def message_of(body: str) -> Message:
    """Read a webhook about a message. Raises KeyError for any other."""
    envelope = json.loads(body)
    payload = envelope["payload"]
    recipients = payload["target"]["data"]["recipients"]
    return Message(
        event_id=payload["id"],
        company_id=envelope["authorization"]["id"],
        conversation_id=payload["conversation"]["id"],
        addresses=[each["handle"].casefold() for each in recipients if each["role"] in RECEIVING],
    )


def event_id(body: bytes) -> str:
    """Return the event's id, which all its deliveries share."""
    return str(json.loads(body)["payload"]["id"])
