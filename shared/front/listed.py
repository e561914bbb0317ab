"""Reads an event of Front's list as the webhook that should have brought it: pure, and tolerant like the envelope."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.errors import MalformedEnvelope
from shared.front.envelope import application_name, parse_envelope


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An event of the list. `inbox_ids`: those it names itself, none for most kinds; `body`: as a webhook has it."""

    front_id: str
    type: str
    emitted_at: datetime
    inbox_ids: frozenset[str]
    is_private: bool
    body: bytes


def read_listed(event: dict[str, Any], company_id: str) -> Listed | None:
    """None for what has no id or time: it can neither be told apart nor be placed."""
    event_type = event.get("type")
    name = application_name(event_type) if isinstance(event_type, str) else ""
    body = json.dumps({"type": name, "authorization": {"id": company_id}, "payload": event}).encode()
    try:
        envelope = parse_envelope(body)
    except MalformedEnvelope:
        return None
    if envelope.front_id is None or envelope.emitted_at is None:
        return None
    return Listed(
        front_id=envelope.front_id,
        type=envelope.type,
        emitted_at=envelope.emitted_at,
        inbox_ids=_inbox_ids(event.get("source")),
        is_private=_object(event.get("conversation")).get("is_private") is True,
        body=body,
    )


def _inbox_ids(source: Any) -> frozenset[str]:
    """The inboxes that are an event's source: a list, sometimes a single one."""
    found = _object(source)
    if _object(found.get("_meta")).get("type") != "inboxes":
        return frozenset()
    inboxes = found.get("data")
    named = [_object(each).get("id") for each in (inboxes if isinstance(inboxes, list) else [inboxes])]
    return frozenset(each for each in named if isinstance(each, str))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
