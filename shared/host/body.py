"""Builds the body of a notification: the same bytes in the feed and in a request to an endpoint. Pure.

A body is JSON in UTF-8. Fields are only ever added to it. Its type never changes with its size: what does not fit is
left out and named in `omitted`, with the address where it is found.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from shared.addresses import bare_address
from shared.front.content import Content, Party, parse_content
from shared.front.envelope import INBOUND
from shared.host.notification import (
    ACTION_TYPES,
    FILE_TYPES,
    MESSAGE_TYPES,
    EventFacts,
    FileFacts,
    Include,
    NotificationFacts,
    RecipientFacts,
)

if TYPE_CHECKING:
    from shared.settings import Settings

#: The most bytes of a body; what is left out is named in `omitted`.
MAX_BYTES: Final = 256 * 1024
#: How long anybody may use the address of a file that a body has.
DOWNLOAD_SECONDS: Final = 6 * 3600
#: Kept free for what `omitted` says of the lists that are cut.
_RESERVE: Final = 2_048
#: The version of the schema of every type. Fields may be added within a version.
SCHEMA_VERSION: Final = 1

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Links:
    """The addresses in a body: those of the console at `public_url`, and of conversations in Front at `front_app_url`.

    `secret_key` signs the links to files, which anybody may use until `expires_at` (Unix seconds).
    """

    public_url: str
    front_app_url: str
    secret_key: bytes
    expires_at: int

    def message(self, facts: NotificationFacts, part: str = "") -> str:
        """Return the address of the whole notification, or of the text or HTML of its message."""
        return f"{self.public_url}/api/v1/messages/{facts.public_id}{part and '/'}{part}"

    def file(self, number: int) -> str:
        """Return the address of a file's bytes, for those who have an API token."""
        return f"{self.public_url}/api/v1/attachments/{number}/content"

    def download(self, number: int) -> str:
        """Return the address of a file's bytes for whoever has it, until it expires."""
        signature = sign_download(self.secret_key, number, self.expires_at)
        return f"{self.file(number)}?expires={self.expires_at}&signature={signature}"

    def timeline(self, event: EventFacts) -> str:
        """Return the address of the event's page."""
        return f"{self.public_url}/events/{event.number}"

    def conversation(self, event: EventFacts) -> str | None:
        """Return the address of the conversation in Front."""
        return f"{self.front_app_url}/open/{event.conversation_id}" if event.conversation_id else None

    def schema(self, notification_type: str) -> str:
        """Return the address of the JSON Schema of a type's bodies."""
        return f"{self.public_url}/api/schemas/{notification_type}/{SCHEMA_VERSION}.json"


def links_at(settings: Settings, now: float) -> Links:
    """Return the addresses in a body that is made now (Unix seconds). Links to files end DOWNLOAD_SECONDS later."""
    return Links(
        public_url=settings.public_url,
        front_app_url=settings.front_app_url,
        secret_key=settings.secret_key.get_secret_value().encode(),
        expires_at=int(now) + DOWNLOAD_SECONDS,
    )


def sign_download(secret_key: bytes, number: int, expires_at: int) -> str:
    """Return the signature of the address at which a file can be read until that time (Unix seconds)."""
    signed = f"mailroom attachment {number} {expires_at}".encode()
    return hmac.new(secret_key, signed, hashlib.sha256).hexdigest()


def is_download_signature(secret_key: bytes, number: int, expires_at: int, signature: str) -> bool:
    """Whether this is the signature of the address, compared in constant time. Says nothing of its time."""
    expected = sign_download(secret_key, number, expires_at)
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass"))


def build(
    facts: NotificationFacts, *, links: Links, include: Include = "text", max_bytes: int | None = MAX_BYTES
) -> bytes:
    """Return the body as JSON in UTF-8, of at most `max_bytes`; None: however large it is.

    `include`: the text of the message, its text and HTML, or neither. The other parts are named in `omitted`.
    """
    document = _document(facts, links, include)
    body = orjson.dumps(document)
    if max_bytes is None or len(body) <= max_bytes:
        return body
    return _fitted(document, facts, links, max_bytes)


def content_of(event: EventFacts) -> Content:
    """Return what the event's message says."""
    return parse_content(event.body, event.fetched)


def _document(facts: NotificationFacts, links: Links, include: Include) -> Document:
    return {
        "type": facts.type,
        "timestamp": _time(facts.at),
        "id": facts.public_id,
        "position": str(facts.cursor),
        "schema": links.schema(facts.type),
        "data": _data(facts, links, include),
    }


def _data(facts: NotificationFacts, links: Links, include: Include) -> Document:
    data: Document = {"tenant": _tenant(facts)}
    if facts.event is None:
        return data | dict(facts.facts)
    data["front"] = _front(facts.event, links)
    if facts.type in MESSAGE_TYPES:
        return data | _message_parts(facts, facts.event, links, include)
    data["links"] = _links(facts, facts.event, links)
    if facts.type in FILE_TYPES:
        data["attachment"] = next(
            (_file(each, links) for each in facts.event.files if each.number == facts.attachment_id), None
        )
    if facts.type in ACTION_TYPES:
        data["action"] = {"kind": None, "state": None, "reason": None} | dict(facts.facts)
    return data


def _tenant(facts: NotificationFacts) -> Document | None:
    tenant = facts.tenant
    return None if tenant is None else {"id": tenant.id, "customer": tenant.customer, "name": tenant.name}


def _front(event: EventFacts, links: Links) -> Document:
    return {
        "event_id": event.front_id,
        "conversation_id": event.conversation_id,
        "message_id": event.message_id,
        "conversation_url": links.conversation(event),
    }


def _links(facts: NotificationFacts, event: EventFacts, links: Links) -> Document:
    return {"self": links.message(facts), "timeline": links.timeline(event)}


def _message_parts(facts: NotificationFacts, event: EventFacts, links: Links, include: Include) -> Document:
    content = content_of(event)
    front = _front(event, links) | {
        "company_id": facts.tenant.company_id if facts.tenant else None,
        "inbox_ids": list(content.inbox_ids),
    }
    return {
        "front": front,
        "message": _message(facts, event, content, links, include),
        "users": list(dict.fromkeys(each.user_id for each in event.recipients if each.user_id is not None)),
        "attachments": [_file(each, links) for each in event.files],
        "action": None if event.action is None else vars(event.action),
        "links": _links(facts, event, links),
    }


def _message(facts: NotificationFacts, event: EventFacts, content: Content, links: Links, include: Include) -> Document:
    message: Document = {
        "internet_message_id": content.internet_message_id,
        "in_reply_to": content.in_reply_to,
        "subject": content.subject,
        "sent_at": _time(content.sent_at),
        "received_at": _time(event.received_at),
        "emitted_at": _time(event.emitted_at),
        "direction": "inbound" if event.type == INBOUND else "outbound",
        "channel": content.channel,
        "is_draft": content.is_draft,
        "from": _party(content.sender),
        "reply_to": [_party(each) for each in content.reply_to],
        "recipients": [_recipient(each, content) for each in event.recipients],
        "text": content.text,
        "html": content.html,
        "omitted": [],
    }
    wanted = {"none": (), "text": ("text",), "html": ("text", "html")}[include]
    for field in ("html", "text"):
        if message[field] is None:
            _omit(message, field, reason="not_sent_by_front" if _is_kept(event) else "no_longer_kept")
        elif field not in wanted:
            _leave_out(message, field, "not_asked_for", facts, links)
    if content.subject_length > len(content.subject or ""):
        _omit(message, "subject", reason="too_large", count=content.subject_length, kept=len(content.subject or ""))
    return message


def _is_kept(event: EventFacts) -> bool:
    """Whether the content is stored: it is cut for its age, or with an address that was erased."""
    return event.body is not None or event.fetched is not None


def _recipient(recipient: RecipientFacts, content: Content) -> Document:
    user = None if recipient.user_id is None else {"id": recipient.user_id, "name": recipient.user_name}
    return {
        "role": recipient.role,
        "address": bare_address(recipient.handle),
        "as_given": recipient.handle,
        "name": content.names.get(recipient.handle),
        "user": user,
        "reason": recipient.reason,
    }


def _party(party: Party | None) -> Document | None:
    return None if party is None else {"address": bare_address(party.handle), "name": party.name}


def _file(file: FileFacts, links: Links) -> Document:
    is_stored = file.state == "stored"
    can_be_read = is_stored and file.is_kept
    return {
        "id": file.id,
        "filename": file.filename,
        "state": file.state,
        "size": file.size if is_stored else file.declared_size,
        "sha256": file.sha256,
        "content_type": file.content_type,
        "inline": file.is_inline,
        "url": links.file(file.number),
        "download_url": links.download(file.number) if can_be_read else None,
        "download_expires_at": _time(datetime.fromtimestamp(links.expires_at, UTC)) if can_be_read else None,
    }


def _time(moment: datetime | None) -> str | None:
    """Return the time in UTC with milliseconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Parts that are left out


def _omit(message: Document, field: str, **said: Any) -> None:
    message["omitted"].append({"field": field, **said})


def _leave_out(message: Document, field: str, reason: str, facts: NotificationFacts, links: Links) -> None:
    size = len(message[field].encode())
    message[field] = None
    _omit(message, field, reason=reason, bytes=size, url=links.message(facts, field))


def _fitted(document: Document, facts: NotificationFacts, links: Links, max_bytes: int) -> bytes:
    """Leave parts out until the body fits: first the HTML, then the text, then the ends of its lists."""
    message = document["data"].get("message")
    if message is not None:
        for field in ("html", "text"):
            if message[field] is not None and len(orjson.dumps(document)) > max_bytes:
                _leave_out(message, field, "too_large", facts, links)
        if len(orjson.dumps(document)) > max_bytes:
            _cut_lists(document["data"], facts, links, max_bytes - _RESERVE - _size_without_lists(document))
    return orjson.dumps(document)


#: The lists of a message's body, each with the order in which its items are kept: those with a user first.
_LISTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "users": lambda _: False,
    "attachments": lambda _: False,
    "recipients": lambda item: item["user"] is None,
    "reply_to": lambda _: False,
    "inbox_ids": lambda _: False,
}


def _holders(data: Document) -> dict[str, Document]:
    """Return the object that holds each of the lists."""
    message, front = data["message"], data["front"]
    return {"users": data, "attachments": data, "recipients": message, "reply_to": message, "inbox_ids": front}


def _size_without_lists(document: Document) -> int:
    data = document["data"]
    lists = [holder[name] for name, holder in _holders(data).items()]
    return len(orjson.dumps(document)) - sum(len(orjson.dumps(each)) for each in lists)


def _cut_lists(data: Document, facts: NotificationFacts, links: Links, room: int) -> None:
    """Cut the lists so that they fit into so many bytes together. Each may take half of what those before it left."""
    holders = _holders(data)
    left_out: dict[str, tuple[int, int]] = {}
    for place, (name, comes_late) in enumerate(_LISTS.items()):
        items, is_last = holders[name][name], place == len(_LISTS) - 1
        kept, size = _first_that_fit(items, comes_late, room if is_last else room // 2)
        room -= size
        if len(kept) < len(items):
            left_out[name] = (len(items), len(kept))
            holders[name][name] = kept
    for name, (count, number) in left_out.items():
        _omit(data["message"], name, reason="too_large", count=count, kept=number, url=links.message(facts))


def _first_that_fit(items: Sequence[Any], comes_late: Callable[[Any], bool], room: int) -> tuple[list[Any], int]:
    """Return the items that fit, in their order, and their size; those that come late are dropped first."""
    kept, size = set[int](), 0
    for place in sorted(range(len(items)), key=lambda each: (comes_late(items[each]), each)):
        size_of_item = len(orjson.dumps(items[place])) + 1
        if size + size_of_item > room:
            break
        kept.add(place)
        size += size_of_item
    return [item for place, item in enumerate(items) if place in kept], size
