"""Parses the bodies of webhooks, the events of Front's list, which are read like webhooks, and their parts. Pure.

Front documents the envelope `{type, authorization: {id}, payload: <Event>}`. Real bodies differ from the published
schema: authors are null, targets are absent, sources are lists, objects or null. New fields and event types appear. So
a field that is missing or of the wrong type is None, and only a body without a company or a type is malformed.

Front sends each object whole or as a preview, which has only its link and mostly its id. `object_id` reads both.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from shared.errors import FrontRejected, MalformedEnvelope
from shared.front.company_claim import claimed_company
from shared.models import Attachment, Envelope, Message, Recipient
from shared.text import clean

SYNC: Final = "sync"
INBOUND: Final = "inbound_received"
MERGED: Final = "conversations_merged"
#: The names that Front's API uses for each application event (`GET /events`, `payload.type`). These are all events that
#: Front's documents list. Where they name no application event, it has the API's name here.
API_NAMES: Final[dict[str, tuple[str, ...]]] = {
    INBOUND: ("inbound",),
    "outbound_sent": ("outbound", "out_reply"),
    "conversation_archived": ("archive",),
    "conversation_reopened": ("reopen",),
    "conversation_deleted": ("trash",),
    "conversation_restored": ("restore",),
    "conversation_snoozed": (),
    "conversation_snooze_expired": ("reminder",),
    "conversation_moved": ("move",),
    "new_comment_added": ("comment",),
    "assignee_changed": ("assign", "unassign"),
    "tag_added": ("tag",),
    "tag_removed": ("untag",),
    "link_added": ("link_added",),
    "link_removed": ("link_removed",),
    "message_delivery_failed": ("sending_error", "message_bounce_error"),
    MERGED: (MERGED,),
    "mention": ("mention",),
    "forward": ("forward",),
    "custom_field_updated": ("custom_field_updated",),
    "macro_triggered": ("macro_triggered",),
    "topic_identified": ("topic_identified",),
    "ticket_status_update": ("ticket_status_update",),
    "call_started": ("call_started",),
    "call_abandoned": ("call_abandoned",),
    "call_queued": ("call_queued",),
    "call_on_hold": ("call_on_hold",),
    "call_parked": ("call_parked",),
    "call_resumed": ("call_resumed",),
    "call_connected": ("call_connected",),
    "call_missed": ("call_missed",),
    "call_hangup": ("call_hangup",),
    "call_transferred": ("call_transferred",),
    "call_transcript_added": ("call_transcript_added",),
    "call_voicemail_transcript_added": ("call_voicemail_transcript_added",),
}
MESSAGE_TYPES: Final = frozenset({INBOUND, "outbound_sent"})
_APPLICATION_NAMES: Final = {api: name for name, apis in API_NAMES.items() for api in apis}

MAX_RECIPIENTS: Final = 5_000
MAX_ATTACHMENTS: Final = 1_000
MAX_INBOXES: Final = 1_000
MAX_MERGED: Final = 100
MAX_MERGED_DEPTH: Final = 4

COMPANY: Final = re.compile(r"cmp_[A-Za-z0-9]{1,60}")
_FRONT_ID: Final = re.compile(r"[a-z]+_[A-Za-z0-9]{1,64}")
#: The ids that a body may contain; the pattern allows more than Front's own form.
_BODY_ID: Final = re.compile(r"[A-Za-z0-9_:.-]{1,100}")

_NUMBER: Final = re.compile(r"[0-9]{1,16}(?:\.[0-9]{0,16})?")
#: A larger time is in milliseconds.
_MILLISECONDS: Final = 10**12
#: The last second of the year 9998. In every time zone, Python and PostgreSQL can represent it.
_LATEST: Final = 253_370_764_799


@dataclass(frozen=True, kw_only=True)
class ListedEvent:
    """An event of Front's list. `body` is the body of the webhook that announces it.

    `inbox_ids` holds the inboxes that are its source. Most kinds of events name none.
    """

    front_id: str
    type: str
    emitted_at: datetime
    inbox_ids: frozenset[str]
    is_private: bool
    body: bytes


def parse_envelope(body: bytes) -> Envelope:
    """Parse the body of a delivery. Raises MalformedEnvelope when it names no company or no type.

    A `sync` without an event only tests the door. It needs no company.
    """
    raw = as_object(load(body))
    if not raw:
        raise MalformedEnvelope("the body is no JSON object")
    event = as_object(raw.get("payload"))
    company_id = _id(as_object(raw.get("authorization")).get("id"))
    if company_id is None and (raw.get("type") != SYNC or event):
        raise MalformedEnvelope("authorization.id names no company")
    event_type = _text(raw.get("type"), 100) or _text(event.get("type"), 100)
    if not event_type:
        raise MalformedEnvelope("neither type nor payload.type is given")
    return _envelope(_type_of(event_type, event), company_id or "", event)


def object_id(found: Any, prefix: str) -> str | None:
    """Return the id of an object that Front sent whole, in `data`, or as a preview. Else its own link names it."""
    outer = as_object(found)
    inner = _whole(outer)
    return _id(inner.get("id")) or _id(outer.get("id")) or _id_in_self(inner, prefix) or _id_in_self(outer, prefix)


def id_in_link(link: Any, prefix: str) -> str | None:
    """Return the last part of a link, None unless it begins with the prefix of such ids."""
    if not isinstance(link, str):
        return None
    path = link.partition("?")[0].partition("#")[0]
    last = (path.rstrip("/") if prefix else path).rpartition("/")[2]
    return _id(last) if last.startswith(prefix) else None


def parse_message(raw: Any) -> Message:
    """Parse a message as webhooks and `GET /messages/{id}` have it. Parts that are left out are None."""
    message = as_object(raw)
    return Message(
        id=object_id(message, "msg_"),
        recipients=_recipients(message.get("recipients")),
        attachments=_attachments(message.get("attachments")),
    )


def parse_listed_event(event: dict[str, Any], company_id: str) -> ListedEvent | None:
    """Parse an event of Front's list. None without an id or a time: it cannot be identified or ordered."""
    event_type = event.get("type")
    name = application_name(event_type) if isinstance(event_type, str) else ""
    body = json.dumps({"type": name, "authorization": {"id": company_id}, "payload": event}).encode()
    try:
        envelope = parse_envelope(body)
    except MalformedEnvelope:
        return None
    if envelope.front_id is None or envelope.emitted_at is None:
        return None
    return ListedEvent(
        front_id=envelope.front_id,
        type=envelope.type,
        emitted_at=envelope.emitted_at,
        inbox_ids=_listed_inbox_ids(event.get("source")),
        is_private=as_object(event.get("conversation")).get("is_private") is True,
        body=body,
    )


def parse_time(value: Any) -> datetime | None:
    """Return the time of Front's Unix seconds, or milliseconds if the number is large; None for anything else.

    The number may be text. Text may also be a time by ISO 8601, in UTC if it names no zone.
    """
    if isinstance(value, str):
        return _parse_time_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _LATEST * 1000:
        return None
    seconds = value / 1000 if value >= _MILLISECONDS else value
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LATEST else None


def _parse_time_text(value: str) -> datetime | None:
    if _NUMBER.fullmatch(value):
        return parse_time(float(value))
    try:
        found = datetime.fromisoformat(value)
        moment = found if found.tzinfo else found.replace(tzinfo=UTC)
        return moment.astimezone(UTC) if 0 <= moment.timestamp() <= _LATEST else None
    except (ValueError, OverflowError):
        return None


def company_of(body: bytes) -> str | None:
    """Return the company that a body comes from, None when the body names none."""
    try:
        return parse_envelope(body).company_id or None
    except MalformedEnvelope:
        return claimed_company(body)


def front_id(value: str) -> str:
    """Return the id. Raises FrontRejected for anything else, aliases (`alt:email:…`) included."""
    if not _FRONT_ID.fullmatch(value):
        raise FrontRejected("the id is none of Front's (letters, an underscore, letters and digits); nothing was asked")
    return value


def application_name(event_type: str) -> str:
    """Return the application event's name for a name of the API. Any other name is returned unchanged."""
    return _APPLICATION_NAMES.get(event_type, event_type)


def is_known(event_type: str) -> bool:
    """Whether Mailroom knows this application event."""
    return event_type in API_NAMES


def _type_of(event_type: str, event: dict[str, Any]) -> str:
    """Return the application event's name. The event inside names a type that its envelope calls something else.

    Nothing is done to a conversation because of a name that Front does not document: a message's is not replaced.
    """
    name = application_name(event_type)
    inner = event.get("type")
    if is_known(name) or not isinstance(inner, str):
        return name
    inner_name = application_name(inner)
    return inner_name if is_known(inner_name) and inner_name not in MESSAGE_TYPES else name


def _envelope(event_type: str, company_id: str, event: dict[str, Any]) -> Envelope:
    source = event.get("source")
    return Envelope(
        type=event_type,
        company_id=company_id,
        front_id=object_id(event, "evt_"),
        conversation_id=object_id(event.get("conversation"), "cnv_"),
        source=_text(as_object(as_object(source).get("_meta")).get("type"), 50),
        emitted_at=parse_time(event.get("emitted_at")),
        message=_message_of(event) if event_type in MESSAGE_TYPES else None,
        inbox_ids=source_inbox_ids(source),
        merged_ids=_merged_ids(event.get("target")) if event_type == MERGED else (),
    )


def _message_of(event: dict[str, Any]) -> Message:
    """Return the event's message. If the event names none, it is the one that its conversation names as the latest."""
    target = as_object(event.get("target"))
    message = parse_message(_whole(target))
    message_id = object_id(target, "msg_") or _last_message_id(as_object(event.get("conversation")))
    return message if message.id == message_id else replace(message, id=message_id)


def _last_message_id(conversation: dict[str, Any]) -> str | None:
    related = as_object(as_object(conversation.get("_links")).get("related"))
    return object_id(conversation.get("last_message"), "msg_") or id_in_link(related.get("last_message"), "msg_")


def _merged_ids(target: Any) -> tuple[str, ...]:
    """Return the conversations in the target of a merge. Front documents no form: ids, links, objects, or lists."""
    level, found = [target], list[str | None]()
    for _ in range(MAX_MERGED_DEPTH):
        found += [id_in_link(each, "cnv_") if isinstance(each, str) else object_id(each, "cnv_") for each in level]
        inner = [each for each in level if object_id(each, "cnv_") is None]
        level = [part for each in inner for part in _parts(each)]
    return tuple(dict.fromkeys([merged_id for merged_id in found if merged_id]))[:MAX_MERGED]


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _whole(found: dict[str, Any]) -> dict[str, Any]:
    data = found.get("data")
    return data if isinstance(data, dict) else found


def _id_in_self(found: dict[str, Any], prefix: str) -> str | None:
    return id_in_link(as_object(found.get("_links")).get("self"), prefix)


def load(body: bytes) -> Any:
    """Parse JSON. Raises MalformedEnvelope.

    The standard library decides about a body that orjson refuses, as one with half a surrogate pair.
    """
    try:
        return orjson.loads(body)
    except ValueError:
        return _load_slowly(body)


def _load_slowly(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except (ValueError, RecursionError) as exc:
        raise MalformedEnvelope(f"the body is no JSON ({type(exc).__name__})") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _recipients(value: Any) -> tuple[Recipient, ...] | None:
    """Return the recipients that have a handle."""
    if not isinstance(value, list):
        return None
    return tuple(
        [
            Recipient(handle, _text(raw.get("role"), 20) or "unknown")
            for _, raw in _objects(value, MAX_RECIPIENTS)
            if (handle := _text(raw.get("handle"), 1_000))
        ]
    )


def _attachments(value: Any) -> tuple[Attachment, ...] | None:
    """Return each attachment once. The last entry with an id wins."""
    if not isinstance(value, list):
        return None
    attachments = [_attachment(position, raw) for position, raw in _objects(value, MAX_ATTACHMENTS)]
    return tuple({attachment.front_id: attachment for attachment in attachments}.values())


def _objects(values: list[Any], limit: int) -> list[tuple[int, dict[str, Any]]]:
    """Return the objects of a list, each with its position. Raises MalformedEnvelope for more than `limit` values."""
    if len(values) > limit:
        raise MalformedEnvelope(f"{len(values)} recipients or attachments; at most {limit} are taken")
    return [(position, raw) for position, raw in enumerate(values) if isinstance(raw, dict)]


def _attachment(position: int, raw: dict[str, Any]) -> Attachment:
    size = raw.get("size")
    return Attachment(
        _id(raw.get("id")) or id_in_link(raw.get("url"), "") or f"unnamed:{position}",
        _text(raw.get("filename"), 1_000) or "unnamed",
        _text(raw.get("content_type"), 200) or "application/octet-stream",
        size if type(size) is int and 0 <= size < 2**62 else None,
        as_object(raw.get("metadata")).get("is_inline") is True,
    )


def source_inbox_ids(source: Any) -> tuple[str, ...]:
    """Return the inboxes in the source of an event: a list or one object, with or without an object around it."""
    data = source.get("data") if isinstance(source, dict) else source
    inboxes = data if isinstance(data, list) else [data, source]
    ids = [object_id(inbox, "inb_") for inbox in inboxes[:MAX_INBOXES]]
    return tuple(dict.fromkeys([inbox_id for inbox_id in ids if inbox_id and inbox_id.startswith("inb_")]))


def _listed_inbox_ids(source: Any) -> frozenset[str]:
    """Return the inboxes in the source of a listed event, if its type is `inboxes`."""
    is_inboxes = as_object(as_object(source).get("_meta")).get("type") == "inboxes"
    return frozenset(source_inbox_ids(source)) if is_inboxes else frozenset()


def as_object(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty object."""
    return value if isinstance(value, dict) else {}


def _text(value: Any, limit: int) -> str | None:
    return clean(value, limit) if isinstance(value, str) else None


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and _BODY_ID.fullmatch(value) else None
