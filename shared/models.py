"""The records that cross module borders: frozen, and named with the words of docs/architecture.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Origin = Literal["webhook", "spooled", "repaired"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One HTTP request from Front, as received. `id` is ours: 32 hex digits that start every log line about it."""

    id: str
    received_at: datetime
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A handle and its role on a message, as Front sent them; a handle may be no address at all."""

    handle: str
    role: str


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A file of a message as Front announces it. Name, type and size are the sender's words."""

    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


@dataclass(frozen=True, kw_only=True)
class Message:
    """What Mailroom needs of a message; a part is None where Front left it out (not where it is empty)."""

    id: str | None
    recipients: tuple[Recipient, ...] | None
    attachments: tuple[Attachment, ...] | None


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """A delivery's parsed body. `front_id` is Front's event id, None where the body names none."""

    type: str
    company_id: str
    front_id: str | None
    conversation_id: str | None
    source: str | None
    emitted_at: datetime | None
    message: Message | None


@dataclass(frozen=True, kw_only=True)
class Token:
    """A tenant's access token, decrypted; never printed, never stored outside `connections`."""

    tenant_id: int
    company_id: str
    version: int
    access_token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to Front as it went: for the attempt's record, without query, token or body."""

    method: str
    path: str
    status: int | None
    milliseconds: int
    budget_left: int | None
