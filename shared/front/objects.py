"""What Mailroom reads of Front's answers: tolerant field by field, like the envelope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.addresses import MAX_LENGTH
from shared.front.envelope import COMPANY, parse_time
from shared.text import clean

LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The company a token belongs to."""

    company_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A conversation as it stands. `id` is the surviving one's after a merge; `status` is Front's word for reading."""

    id: str
    status: str
    tag_ids: frozenset[str]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ConversationEvent:
    """One thing that happened to a conversation.

    `type` is the API's name (`archive`, `trash`, `tag`, `reopen`, `inbound` …), `source` who did it (`teammate`,
    `rule`, `api`, `oauth_client`, `inboxes` …), `target_id` what it was about (a tag's id, a message's).
    """

    id: str
    type: str
    source: str | None
    target_id: str | None
    emitted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """An inbox; one that Front does not call shared counts as private."""

    id: str
    name: str
    is_private: bool


def parse_identity(raw: Any) -> Identity | None:
    """None where the answer names no company."""
    found = as_object(raw)
    company_id = as_text(found.get("id"))
    if company_id is None or not COMPANY.fullmatch(company_id):
        return None
    return Identity(company_id=company_id, name=as_text(found.get("name")) or company_id)


def parse_conversation(raw: Any) -> Conversation | None:
    """None where the answer is no conversation."""
    found = as_object(raw)
    conversation_id, status = as_text(found.get("id")), as_text(found.get("status"))
    if conversation_id is None or status is None:
        return None
    return Conversation(
        id=conversation_id,
        status=status,
        tag_ids=frozenset(filter(None, (as_text(as_object(tag).get("id")) for tag in _list(found.get("tags"))))),
        updated_at=parse_time(found.get("updated_at")),
    )


def parse_event(raw: Any) -> ConversationEvent | None:
    """None where the element is no event."""
    found = as_object(raw)
    event_id, event_type = as_text(found.get("id")), as_text(found.get("type"))
    if event_id is None or event_type is None:
        return None
    return ConversationEvent(
        id=event_id,
        type=event_type,
        source=as_text(as_object(as_object(found.get("source")).get("_meta")).get("type")),
        target_id=as_text(as_object(as_object(found.get("target")).get("data")).get("id")),
        emitted_at=parse_time(found.get("emitted_at")),
    )


def parse_inbox(raw: Any) -> Inbox | None:
    """None where the element is no inbox."""
    found = as_object(raw)
    inbox_id = as_text(found.get("id"))
    if inbox_id is None:
        return None
    private = found.get("is_private") is not False
    return Inbox(id=inbox_id, name=as_text(found.get("name")) or inbox_id, is_private=private)


def parse_page(raw: Any) -> tuple[list[dict[str, Any]], str | None] | None:
    """A list answer's elements and the link to its next page; None where the answer is no list."""
    found = as_object(raw)
    if not isinstance(found.get("_results"), list):
        return None
    elements = [element for element in found["_results"] if isinstance(element, dict)]
    return elements, as_text(as_object(found.get("_pagination")).get("next"))


def as_object(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    """The value where it is text and not empty."""
    return value if isinstance(value, str) and value else None


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
