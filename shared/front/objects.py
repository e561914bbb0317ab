"""The objects in Front's answers, with the fields that Mailroom uses.

Like the envelope, they are parsed field by field: a field that is missing or of the wrong type is None or empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.addresses import MAX_LENGTH
from shared.front.envelope import COMPANY, as_object, id_in_link, object_id, parse_time
from shared.text import clean

MAX_NAME_LENGTH = 200


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The company that a token belongs to."""

    company_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """A conversation as it is now. After a merge, `id` is that of the surviving conversation."""

    id: str
    status: str
    tag_ids: frozenset[str]
    updated_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ConversationEvent:
    """An event of a conversation.

    `type` is the API's name (`archive`, `trash`, `tag`, `reopen`, `inbound` …). `source` is the kind of its author
    (`teammate`, `rule`, `api`, `oauth_client`, `inboxes` …). `target_id` is the id of its object (a tag, a message).
    """

    id: str
    type: str
    source: str | None
    target_id: str | None
    emitted_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """An inbox. It counts as private unless Front says that it is shared."""

    id: str
    name: str
    is_private: bool


@dataclass(frozen=True, kw_only=True)
class Teammate:
    """A person who uses Front, or a bot. `type` is `user` for people; old accounts send no type."""

    id: str
    email: str
    name: str
    type: str
    is_blocked: bool


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One way into an inbox. Senders write to its `address`."""

    id: str
    address: str
    inbox_id: str | None
    is_private: bool


def parse_identity(raw: Any) -> Identity | None:
    """Return the company, None when the answer names none."""
    found = as_object(raw)
    company_id = _text(found.get("id"))
    if company_id is None or not COMPANY.fullmatch(company_id):
        return None
    return Identity(company_id=company_id, name=_text(found.get("name")) or company_id)


def parse_conversation(raw: Any) -> Conversation | None:
    """Return the conversation, None when the answer holds none."""
    found = as_object(raw)
    conversation_id, status = object_id(found, "cnv_"), _text(found.get("status"))
    if conversation_id is None or status is None:
        return None
    return Conversation(
        id=conversation_id,
        status=status,
        tag_ids=frozenset(filter(None, (object_id(tag, "tag_") for tag in _list(found.get("tags"))))),
        updated_at=parse_time(found.get("updated_at")),
    )


def parse_event(raw: Any) -> ConversationEvent | None:
    """Return the event, None when the element is none."""
    found = as_object(raw)
    event_id, event_type = object_id(found, "evt_"), _text(found.get("type"))
    if event_id is None or event_type is None:
        return None
    return ConversationEvent(
        id=event_id,
        type=event_type,
        source=_text(as_object(as_object(found.get("source")).get("_meta")).get("type")),
        target_id=object_id(found.get("target"), ""),
        emitted_at=parse_time(found.get("emitted_at")),
    )


def parse_inbox(raw: Any) -> Inbox | None:
    """Return the inbox, None when the element is none."""
    found = as_object(raw)
    inbox_id = object_id(found, "inb_")
    if inbox_id is None:
        return None
    private = found.get("is_private") is not False
    return Inbox(id=inbox_id, name=_text(found.get("name")) or inbox_id, is_private=private)


def parse_page(raw: Any) -> tuple[list[dict[str, Any]], str | None] | None:
    """Return the elements of a list and the link to its next page; None when the answer is no list."""
    found = as_object(raw)
    if not isinstance(found.get("_results"), list):
        return None
    elements = [element for element in found["_results"] if isinstance(element, dict)]
    return elements, _text(as_object(found.get("_pagination")).get("next"))


def parse_teammate(raw: Any) -> Teammate | None:
    """Return the teammate, None when the element is none."""
    found = as_object(raw)
    teammate_id, email = object_id(found, "tea_"), _text(found.get("email")) or ""
    if teammate_id is None:
        return None
    names = " ".join(filter(None, (_text(found.get(part)) for part in ("first_name", "last_name"))))
    return Teammate(
        id=clean(teammate_id, MAX_NAME_LENGTH),
        email=email,
        name=clean(names or _text(found.get("username")) or email or teammate_id, MAX_NAME_LENGTH),
        type=_text(found.get("type")) or "user",
        is_blocked=found.get("is_blocked") is True,
    )


def parse_channel(raw: Any) -> Channel | None:
    """Return the channel, None when the element is none.

    The address of an smtp channel is a technical one, to which mail is forwarded. Its `send_as` is the public one.
    """
    found = as_object(raw)
    channel_id, address = object_id(found, "cha_"), _text(found.get("address"))
    if channel_id is None:
        return None
    sends_as = _text(found.get("send_as")) if found.get("type") == "smtp" else None
    related = as_object(as_object(found.get("_links")).get("related"))
    return Channel(
        id=channel_id,
        address=clean(sends_as or address or "", MAX_LENGTH + 1),
        inbox_id=id_in_link(related.get("inbox"), "inb_"),
        is_private=found.get("is_private") is True,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    """Return the value if it is text and not empty, else None."""
    return value if isinstance(value, str) and value else None
