"""What there is in Front: companies, conversations, messages, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["open", "archived", "deleted", "spam"]
Role = Literal["from", "to", "cc", "bcc", "reply-to"]
SourceType = Literal["api", "oauth_client", "rule", "teammate", "reminder", "inboxes", "recipient"]

Key = tuple[str, str]
"""Company id and resource id: two companies may hold the same resource id."""


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
    """An inbox with its one channel: `address` is public; behind an smtp one `technical` receives."""

    id: str
    name: str
    address: str
    channel_id: str
    technical: str
    channel_type: str = "smtp"
    is_private: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """A label; a private one belongs to a single teammate."""

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
    """A file of a message; `url` only where it differs from Front's own."""

    id: str
    filename: str
    content_type: str
    size: int
    is_inline: bool = False
    url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A mail that came in or went out."""

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
    """Something outside of Front that a conversation is about."""

    id: str
    name: str
    external_url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A thread at one moment; a change makes a new record."""

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
    """Who caused an event."""

    type: SourceType
    teammate: Teammate | None = None


Target = Message | Comment | Tag | Link | Teammate | Inbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What happened: the conversation as it was then, by whom, to what. `type` is the API's name."""

    id: str
    type: str
    emitted_at: float
    conversation: Conversation
    source: Source
    target: Target | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Company:
    """A customer of Front with its people, inboxes and tags."""

    id: str
    name: str
    domain: str
    teammates: tuple[Teammate, ...]
    inboxes: tuple[Inbox, ...]
    tags: tuple[Tag, ...]
    team_id: str
    rule_id: str
