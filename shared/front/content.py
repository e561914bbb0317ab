"""Reads what a message says from the body of its webhook, and from the message as Front's API returned it. Pure.

Matching and storing need none of this, so it is read only for those who are told of the message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.errors import MalformedEnvelope
from shared.front.envelope import as_object, load, parse_time, source_inbox_ids
from shared.text import clean

#: Longer ones are cut; a sender may write a name or a subject of any length.
MAX_NAME: Final = 200
MAX_LINE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Party:
    """Somebody whom the message names, by handle and by the name that Front has for it."""

    handle: str
    name: str | None


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content of a message. A part that Front did not send is None.

    `subject_length` counts the characters of the whole subject, `subject` may be cut. `names` are those of the
    message's handles. `internet_message_id` and `in_reply_to` are there where Front tells the headers of the mail.
    """

    subject: str | None = None
    subject_length: int = 0
    text: str | None = None
    html: str | None = None
    sender: Party | None = None
    reply_to: tuple[Party, ...] = ()
    names: Mapping[str, str]
    sent_at: datetime | None = None
    is_draft: bool = False
    channel: str | None = None
    internet_message_id: str | None = None
    in_reply_to: str | None = None
    inbox_ids: tuple[str, ...] = ()


def parse_content(webhook: bytes | None, fetched: bytes | None = None) -> Content:
    """Read the message of a webhook's body; each part that Front's API returned too is taken from there.

    A body that cannot be read counts as empty.
    """
    event = as_object(_loaded(webhook).get("payload"))
    message = {**_target(event), **_sent(_loaded(fetched))}
    people = list(_people(message))
    subject = _text(message.get("subject"))
    if subject is None:
        subject = _text(as_object(event.get("conversation")).get("subject"))
    headers = _headers(message)
    return Content(
        subject=None if subject is None else clean(subject, MAX_LINE),
        subject_length=len(subject or ""),
        text=_whole_text(message.get("text")),
        html=_whole_text(message.get("body")),
        sender=next((person for role, person in people if role == "from"), None),
        reply_to=tuple(person for role, person in people if role == "reply-to"),
        names={person.handle: person.name for _, person in people if person.name},
        sent_at=parse_time(message.get("created_at")),
        is_draft=message.get("is_draft") is True,
        channel=_line(message.get("type"), MAX_NAME),
        internet_message_id=_line(headers.get("message-id") or headers.get("message_id"), MAX_LINE),
        in_reply_to=_line(headers.get("in-reply-to") or headers.get("in_reply_to"), MAX_LINE),
        inbox_ids=source_inbox_ids(event.get("source")),
    )


def handles_in(webhook: bytes | None, fetched: bytes | None = None) -> frozenset[str]:
    """Return the handles of all whom the message names, in any role. A body that cannot be read names nobody."""
    target = _target(as_object(_loaded(webhook).get("payload")))
    messages = (target, _sent(_loaded(fetched)))
    return frozenset(person.handle for message in messages for _, person in _people(message))


def _loaded(body: bytes | None) -> dict[str, Any]:
    if body is None:
        return {}
    try:
        return as_object(load(body))
    except MalformedEnvelope:
        return {}


def _target(event: dict[str, Any]) -> dict[str, Any]:
    target = as_object(event.get("target"))
    return _sent(as_object(target.get("data")) or target)


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that Front sent: one that is null in the API's answer does not hide the webhook's."""
    return {name: value for name, value in message.items() if value is not None}


def _people(message: dict[str, Any]) -> Iterator[tuple[str, Party]]:
    recipients = message.get("recipients")
    for each in map(as_object, recipients if isinstance(recipients, list) else []):
        handle = _line(each.get("handle"), 1_000)
        if handle:
            yield _line(each.get("role"), 20) or "unknown", Party(handle=handle, name=_line(each.get("name"), MAX_NAME))


def _headers(message: dict[str, Any]) -> dict[str, Any]:
    """Return the headers of the mail by lower-case name, where Front tells any."""
    headers = as_object(as_object(message.get("metadata")).get("headers"))
    return {name.casefold(): value for name, value in headers.items()}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _whole_text(value: Any) -> str | None:
    return clean(value, len(value)) if isinstance(value, str) else None


def _line(value: Any, limit: int) -> str | None:
    return clean(value, limit) if isinstance(value, str) and value else None
