"""The rows the recorder writes, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class EventRow:
    """A new event."""

    company_id: str
    front_id: str
    tenant_id: int | None
    type: str
    conversation_id: str | None
    message_id: str | None
    source: str | None
    emitted_at: datetime | None
    received_at: datetime
    state: str
    cause: str | None


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """A delivery of an event; `body` is compressed, None where an earlier delivery holds it."""

    id: UUID
    event_id: int
    received_at: datetime
    origin: str
    body: bytes | None


@dataclass(frozen=True, kw_only=True)
class RecipientRow:
    """A recipient of an event, matched or not."""

    event_id: int
    position: int
    tenant_id: int
    handle: str
    role: str
    user_id: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class AttachmentRow:
    """A file that is to be stored."""

    tenant_id: int
    event_id: int
    conversation_id: str
    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


@dataclass(frozen=True, kw_only=True)
class ActionRow:
    """What will be done to the conversation, or why nothing will."""

    event_id: int
    tenant_id: int
    conversation_id: str
    kind: str
    wait_for: str
    state: str
    reason: str
    emitted_at: datetime
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A new task; `waits`: due when another task releases it; `failed`: the code of one that is born failed."""

    tenant_id: int | None
    event_id: int
    kind: str
    attachment_id: int | None = None
    waits: bool = False
    failed: str | None = None
    detail: str | None = None


def columns(rows: Sequence[Any], kind: type) -> list[list[Any]]:
    """The rows turned into a list for each column, in the order of the class: what unnest() takes."""
    return [[getattr(row, name) for row in rows] for name in kind.__dataclass_fields__]  # type: ignore[attr-defined]
