"""What Mailroom reads of Front's teammates and channels: tolerant field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.addresses import MAX_LENGTH
from shared.front.objects import as_object, as_text
from shared.text import clean

LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Teammate:
    """Somebody who uses Front, or a bot. `type` is `user` for people; old accounts send none."""

    id: str
    email: str
    name: str
    type: str
    is_blocked: bool


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One way into an inbox, which says whether it is shared. `address` is what others write to."""

    id: str
    address: str
    inbox_id: str | None
    is_private: bool


def parse_teammate(raw: Any) -> Teammate | None:
    """None where the element is no teammate."""
    found = as_object(raw)
    teammate_id, email = as_text(found.get("id")), as_text(found.get("email")) or ""
    if teammate_id is None:
        return None
    names = " ".join(filter(None, (as_text(found.get(part)) for part in ("first_name", "last_name"))))
    return Teammate(
        id=clean(teammate_id, LONGEST),
        email=email,
        name=clean(names or as_text(found.get("username")) or email or teammate_id, LONGEST),
        type=as_text(found.get("type")) or "user",
        is_blocked=found.get("is_blocked") is True,
    )


def parse_channel(raw: Any) -> Channel | None:
    """None where the element is no channel.

    An smtp channel's own address is a technical one that mail is forwarded to; the public one is what it sends as.
    """
    found = as_object(raw)
    channel_id, address = as_text(found.get("id")), as_text(found.get("address"))
    if channel_id is None:
        return None
    sends_as = as_text(found.get("send_as")) if found.get("type") == "smtp" else None
    inbox = as_text(as_object(as_object(found.get("_links")).get("related")).get("inbox")) or ""
    return Channel(
        id=channel_id,
        address=clean(sends_as or address or "", MAX_LENGTH + 1),
        inbox_id=inbox.rpartition("/")[2] or None,
        is_private=found.get("is_private") is True,
    )
