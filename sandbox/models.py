"""Front's records: companies, conversations, messages and events, their ids, and the history of a conversation."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Literal

Status = Literal["open", "archived", "deleted", "spam"]
Role = Literal["from", "to", "cc", "bcc", "reply-to"]
SourceType = Literal["api", "oauth_client", "rule", "teammate", "reminder", "inboxes", "recipient"]

Key = tuple[str, str]
"""Company id and resource id: two companies may hold the same resource id."""

BASE36_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    """Write a number in lower-case base 36."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = BASE36_DIGITS[digit] + digits
    return digits or "0"


def stable_id(prefix: str, *parts: object) -> str:
    """Derive an id from its parts: the same parts give the same id, also after a restart."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"{prefix}_{base36(int.from_bytes(digest[:5], 'big'))}"


class IdSequence:
    """IdSequence as Front writes them, each given out once: a prefix and a number in base 36."""

    def __init__(self, start: int) -> None:
        self._numbers = itertools.count(start)

    def new(self, prefix: str) -> str:
        """Return the next id."""
        return f"{prefix}_{base36(next(self._numbers))}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Teammate:
    """A person in Front, or a bot."""

    id: str
    email: str
    first_name: str
    last_name: str
    type: str = "user"
    is_admin: bool = False
    is_blocked: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbox:
    """An inbox with its one channel. `address` is public; behind an SMTP channel `technical` receives the mail."""

    id: str
    name: str
    address: str
    channel_id: str
    technical: str
    channel_type: str = "smtp"
    is_private: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """A label. A private one belongs to a single teammate."""

    id: str
    name: str
    highlight: str | None = None
    is_private: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipient:
    """One address of a message and its role."""

    handle: str
    role: Role
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file of a message.

    `url` is set only where it differs from Front's own address. `fault` is the kind of fault of every download.
    """

    id: str
    filename: str
    content_type: str
    size: int
    is_inline: bool = False
    url: str | None = None
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """An email, received or sent."""

    id: str
    company_id: str
    conversation_id: str
    is_inbound: bool
    created_at: float
    subject: str
    text: str
    recipients: tuple[Recipient, ...]
    attachments: tuple[Attachment, ...] = ()
    author: Teammate | None = None
    replied_to: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment:
    """An internal note on a conversation."""

    id: str
    author: Teammate
    body: str
    posted_at: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """A link from a conversation to something outside of Front."""

    id: str
    name: str
    external_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomField:
    """A custom field of conversations."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MergedConversations:
    """The ids of the conversations that were merged into another one."""

    ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """The state of a conversation at one moment. Every change makes a new record."""

    id: str
    company_id: str
    inbox_id: str
    subject: str
    created_at: float
    updated_at: float
    status: Status = "open"
    assignee: Teammate | None = None
    recipient: Recipient | None = None
    tags: tuple[Tag, ...] = ()
    last_message_id: str | None = None
    waiting_since: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The cause of an event."""

    type: SourceType
    teammate: Teammate | None = None


Target = Message | Comment | Tag | Link | Teammate | Inbox | CustomField | MergedConversations


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """An event of a conversation, with the conversation's state at that time. `type` is the API's name for it."""

    id: str
    type: str
    emitted_at: float
    conversation: Conversation
    source: Source
    target: Target | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Company:
    """A customer of Front with its people, inboxes and tags.

    `host` is the base address that its links point to, where that is not the sandbox itself.
    """

    id: str
    name: str
    domain: str
    teammates: tuple[Teammate, ...]
    inboxes: tuple[Inbox, ...]
    tags: tuple[Tag, ...]
    team_id: str
    rule_id: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event: its name in the API, its source, and the conversation's status after it."""

    name: str
    source: SourceType
    status: Status | None = None
    in_event_list: bool = True


APPLICATION_EVENTS = {
    "inbound_received": EventType("inbound", "inboxes"),
    "outbound_sent": EventType("outbound", "inboxes"),
    "conversation_archived": EventType("archive", "teammate", "archived"),
    "conversation_reopened": EventType("reopen", "teammate", "open"),
    "conversation_deleted": EventType("trash", "teammate", "deleted"),
    "conversation_restored": EventType("restore", "teammate", "open"),
    # The API has no event for a snooze: only the webhook reports it.
    "conversation_snoozed": EventType("reminder", "teammate", "archived", in_event_list=False),
    "conversation_snooze_expired": EventType("reminder", "reminder", "open"),
    "conversation_moved": EventType("move", "teammate"),
    "new_comment_added": EventType("comment", "teammate"),
    "assignee_changed": EventType("assign", "teammate"),
    "tag_added": EventType("tag", "teammate"),
    "tag_removed": EventType("untag", "teammate"),
    "link_added": EventType("link_added", "teammate"),
    "link_removed": EventType("link_removed", "teammate"),
    "message_delivery_failed": EventType("sending_error", "recipient"),
}
"""The types of application webhooks, and the API event each one carries."""

CALL_EVENTS = (
    "call_started",
    "call_abandoned",
    "call_queued",
    "call_on_hold",
    "call_parked",
    "call_resumed",
    "call_connected",
    "call_missed",
    "call_hangup",
    "call_transferred",
    "call_transcript_added",
    "call_voicemail_transcript_added",
)
OTHER_EVENTS = {
    "unassign": EventType("unassign", "teammate"),
    "out_reply": EventType("out_reply", "inboxes"),
    "mention": EventType("mention", "teammate"),
    "forward": EventType("forward", "teammate"),
    "sending_error": EventType("sending_error", "recipient"),
    "message_bounce_error": EventType("message_bounce_error", "recipient"),
    "conversations_merged": EventType("conversations_merged", "teammate"),
    "custom_field_updated": EventType("custom_field_updated", "teammate"),
    # Front documents neither source nor target of those below.
    "macro_triggered": EventType("macro_triggered", "teammate"),
    "topic_identified": EventType("topic_identified", "rule"),
    "ticket_status_update": EventType("ticket_status_update", "teammate"),
    **{name: EventType(name, "teammate") for name in CALL_EVENTS},
}
"""The other events of the API. Their webhooks carry the same type twice, as rule webhooks do."""

EVENT_TYPES = APPLICATION_EVENTS | OTHER_EVENTS
"""The events that can be requested, each by the type of its webhook."""

WEBHOOK_TYPES = {each.name: name for name, each in OTHER_EVENTS.items()}
WEBHOOK_TYPES |= {each.name: name for name, each in APPLICATION_EVENTS.items() if each.in_event_list}
WEBHOOK_TYPES |= {"unassign": "assignee_changed"}
"""The type of the webhook that carries an API event."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WebhookEvent:
    """An event that has happened, and the type of the webhook that would carry it."""

    event: Event
    webhook_type: str
    message: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """History: an event was emitted. `wish` is the effect it should have, "none", or None if nobody said.

    `genuine` is False for a forged webhook. `already` is True if the wish was fulfilled at that moment.
    """

    at: float
    event_id: str
    wish: str | None
    genuine: bool = True
    already: bool = False
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """History: a message came in, which reopens an archived or trashed conversation."""

    at: float
    message_id: str
    kind: Literal["arrived"] = "arrived"


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonChanged:
    """History: a teammate or a rule changed the status."""

    at: float
    do: str
    by: str
    kind: Literal["person_changed"] = "person_changed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """History: an API call was applied. `changed` is False if it found everything as it should be."""

    at: float
    wish: str
    changed: bool
    by: str
    kind: Literal["effect"] = "effect"


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """History: the conversation `from_id` was merged into this one."""

    at: float
    from_id: str
    kind: Literal["merged"] = "merged"


@dataclass(frozen=True, kw_only=True, slots=True)
class Recalled:
    """History: somebody asked to undo the API's changes, and cancelled those not made yet."""

    at: float
    kind: Literal["recalled"] = "recalled"


HistoryEntry = Asked | Arrived | PersonChanged | Effect | Merged | Recalled
