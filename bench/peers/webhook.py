"""What a webhook asks of a peer's worker; for the peers, with nothing but the standard library. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

RECEIVING = {"to", "cc", "bcc"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The event, its conversation, and who of which company may have received it."""

    event_id: str
    company_id: str
    conversation_id: str
    addresses: list[str]


def wanted(body: str) -> Wanted:
    """Read a webhook about a message. Raises KeyError for any other."""
    envelope = json.loads(body)
    payload = envelope["payload"]
    recipients = payload["target"]["data"]["recipients"]
    return Wanted(
        event_id=payload["id"],
        company_id=envelope["authorization"]["id"],
        conversation_id=payload["conversation"]["id"],
        addresses=[each["handle"].casefold() for each in recipients if each["role"] in RECEIVING],
    )


def event_id(body: bytes) -> str:
    """What two deliveries of the same event have in common."""
    return str(json.loads(body)["payload"]["id"])
