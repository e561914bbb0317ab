"""Reads the body of an application webhook: pure, and tolerant field by field.

Front documents the envelope `{type, authorization: {id}, payload: <Event>}`; real bodies differ from the published
schema (null authors, absent targets, sources that are lists, objects or null), and new fields and event types appear.
So a field that is missing or of the wrong type is None, and only a body without company or type is malformed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from shared.errors import FrontRejected, MalformedEnvelope
from shared.models import Attachment, Envelope, Message, Recipient
from shared.text import clean

_FRONT_ID = re.compile(r"[a-z]+_[A-Za-z0-9]{1,64}")
COMPANY = re.compile(r"cmp_[A-Za-z0-9]{1,60}")

SYNC: Final = "sync"
INBOUND: Final = "inbound_received"

#: Application event -> the names Front's API uses for it (`GET /events`, `payload.type`).
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
}
MESSAGE_TYPES: Final = frozenset({INBOUND, "outbound_sent"})
_APPLICATION_NAME: Final = {api: name for name, apis in API_NAMES.items() for api in apis}

MAX_RECIPIENTS = 5_000
MAX_ATTACHMENTS = 1_000
MAX_INBOXES = 1_000
_ID = re.compile(r"[A-Za-z0-9_:.-]{1,100}")
_MILLISECONDS = 10**12
#: The last second of the year 9998: a day that no time zone moves out of what Python and PostgreSQL share.
_LATEST = 253_370_764_799

_CLAIM: Final = re.compile(rb'"authorization"\s*:\s*\{[^{}]*?"id"\s*:\s*"([A-Za-z0-9_:.-]{1,100})"')


def front_id(value: str) -> str:
    """The id itself. Raises FrontRejected for anything else, aliases (`alt:email:…`) included."""
    if not _FRONT_ID.fullmatch(value):
        raise FrontRejected("the id is none of Front's (letters, an underscore, letters and digits); nothing was asked")
    return value


def application_name(event_type: str) -> str:
    """The application event's name for either vocabulary; an unknown type stays as it is."""
    return _APPLICATION_NAME.get(event_type, event_type)


def is_known(event_type: str) -> bool:
    """Whether Mailroom knows what this application event means."""
    return event_type in API_NAMES


def parse_envelope(body: bytes) -> Envelope:
    """Read a delivery's body. Raises MalformedEnvelope when it cannot be told whose or what it is."""
    raw = _object(_load(body))
    if not raw:
        raise MalformedEnvelope("the body is no JSON object")
    company_id = _id(_object(raw.get("authorization")).get("id"))
    if company_id is None:
        raise MalformedEnvelope("authorization.id names no company")
    event = _object(raw.get("payload"))
    event_type = _text(raw.get("type"), 100) or _text(event.get("type"), 100)
    if not event_type:
        raise MalformedEnvelope("neither type nor payload.type is given")
    return _envelope(application_name(event_type), company_id, event)


def _envelope(event_type: str, company_id: str, event: dict[str, Any]) -> Envelope:
    target, source = _object(event.get("target")), event.get("source")
    return Envelope(
        type=event_type,
        company_id=company_id,
        front_id=_id(event.get("id")),
        conversation_id=_id(_object(event.get("conversation")).get("id")),
        source=_text(_object(_object(source).get("_meta")).get("type"), 50),
        emitted_at=parse_time(event.get("emitted_at")),
        message=parse_message(target.get("data")) if event_type in MESSAGE_TYPES else None,
        inbox_ids=_inboxes(source),
    )


def parse_message(raw: Any) -> Message:
    """Read a message as webhooks and `GET /messages/{id}` carry it; parts that are left out are None."""
    message = _object(raw)
    return Message(
        id=_id(message.get("id")),
        recipients=_recipients(message.get("recipients")),
        attachments=_attachments(message.get("attachments")),
    )


def parse_time(value: Any) -> datetime | None:
    """Front's Unix seconds since 1970 (integer or fraction; milliseconds are told by size), None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _LATEST * 1000:
        return None
    seconds = value / 1000 if value >= _MILLISECONDS else value
    return datetime.fromtimestamp(seconds, UTC) if seconds <= _LATEST else None


def _load(body: bytes) -> Any:
    """What the body says as JSON. What orjson refuses (half a surrogate pair, for one) the standard library judges."""
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


def _recipients(listed: Any) -> tuple[Recipient, ...] | None:
    """Whoever has a handle."""
    if not isinstance(listed, list):
        return None
    return tuple(
        [
            Recipient(handle, _text(raw.get("role"), 20) or "unknown")
            for _, raw in _objects(listed, MAX_RECIPIENTS)
            if (handle := _text(raw.get("handle"), 1_000))
        ]
    )


def _attachments(listed: Any) -> tuple[Attachment, ...] | None:
    """Each once; of a file that is named twice the last."""
    if not isinstance(listed, list):
        return None
    read = [_attachment(position, raw) for position, raw in _objects(listed, MAX_ATTACHMENTS)]
    return tuple({attachment.front_id: attachment for attachment in read}.values())


def _objects(listed: list[Any], most: int) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a list, each with its place there."""
    if len(listed) > most:
        raise MalformedEnvelope(f"{len(listed)} recipients or attachments; at most {most} are taken")
    return [(position, raw) for position, raw in enumerate(listed) if isinstance(raw, dict)]


def _attachment(position: int, raw: dict[str, Any]) -> Attachment:
    size = raw.get("size")
    return Attachment(
        _id(raw.get("id")) or _last_segment(raw.get("url")) or f"unnamed:{position}",
        _text(raw.get("filename"), 1_000) or "unnamed",
        _text(raw.get("content_type"), 200) or "application/octet-stream",
        size if type(size) is int and 0 <= size < 2**62 else None,
        _object(raw.get("metadata")).get("is_inline") is True,
    )


def _inboxes(source: Any) -> tuple[str, ...]:
    """The inboxes a source names: in a list, as one object, or without the object around them."""
    named = source.get("data") if isinstance(source, dict) else source
    each = named if isinstance(named, list) else [named]
    ids = [_id(inbox.get("id")) for inbox in each[:MAX_INBOXES] if isinstance(inbox, dict)]
    return tuple(dict.fromkeys([inbox_id for inbox_id in ids if inbox_id and inbox_id.startswith("inb_")]))


def _last_segment(url: Any) -> str | None:
    """Attachments of before 2020 carry no id; the last part of their url is it."""
    return _id(url.partition("?")[0].rpartition("/")[2]) if isinstance(url, str) else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any, limit: int) -> str | None:
    return clean(value, limit) if isinstance(value, str) else None


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and _ID.fullmatch(value) else None


@dataclass(frozen=True, kw_only=True)
class ListedEvent:
    """An event of the list. `inbox_ids`: those it names itself, none for most kinds; `body`: as a webhook has it."""

    front_id: str
    type: str
    emitted_at: datetime
    inbox_ids: frozenset[str]
    is_private: bool
    body: bytes


def parse_listed_event(event: dict[str, Any], company_id: str) -> ListedEvent | None:
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
    return ListedEvent(
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


def company_of(body: bytes) -> str | None:
    """The company that sent it; None where it does not say."""
    try:
        return parse_envelope(body).company_id
    except MalformedEnvelope:
        return claimed_company(body)


def claimed_company(body: bytes) -> str | None:
    """The company that a body names as its own in the way of Front, whatever else is wrong with it."""
    found = _CLAIM.search(body)
    return found[1].decode() if found else None
