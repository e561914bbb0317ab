"""The rows the recorder writes, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from shared.db.arrays import Bigints, Bodies, Booleans, Column, Ids, Texts, Times

#: How a field is sent, by what it is declared as.
COLUMNS: dict[str, type[Column[Any]]] = {
    "str": Texts,
    "int": Bigints,
    "bool": Booleans,
    "datetime": Times,
    "bytes": Bodies,
    "DeliveryId": Ids,
}
DeliveryId = str  # 32 hex digits; a uuid in the database


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

    id: DeliveryId
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


def columns(rows: Sequence[Any], kind: type) -> list[Column[Any]]:
    """The rows turned into a column for each field, in the order of the class: what unnest() takes."""
    names, kinds = _fields(kind)
    if not rows:
        return [column() for column in kinds]
    return [
        column(values) for column, values in zip(kinds, zip(*map(attrgetter(*names), rows), strict=True), strict=True)
    ]


@cache
def _fields(kind: type) -> tuple[list[str], list[type[Column[Any]]]]:
    found = fields(kind)
    return [each.name for each in found], [COLUMNS[str(each.type).removesuffix(" | None")] for each in found]
