"""The rows that the recorder writes, and their columns.

They are named tuples: a frozen dataclass takes several times as long to create, and an event has about ten rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import orjson

from shared.db.core.arrays import Bigints, Bodies, Booleans, Column, Ids, Texts, Times

#: The column class of a field, by its declared type.
COLUMNS: dict[str, type[Column[Any]]] = {
    "str": Texts,
    "int": Bigints,
    "bool": Booleans,
    "datetime": Times,
    "bytes": Bodies,
    "DeliveryId": Ids,
}
DeliveryId = str  # 32 hex digits; a uuid in the database


class EventRow(NamedTuple):
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
    recipients: str | None  # as `recipients_json` returns them
    to_announce: bool  # a message of which something is still to be fetched or stored


class DeliveryRow(NamedTuple):
    """A delivery of an event; `body` is compressed, or None when an earlier delivery has it."""

    id: DeliveryId
    event_id: int
    received_at: datetime
    origin: str
    body: bytes | None


class RecipientRow(NamedTuple):
    """A recipient of an event, matched or not. It becomes a part of the event's row."""

    handle: str
    role: str
    user_id: int | None
    reason: str


class AttachmentRow(NamedTuple):
    """A file of a message. Its own task will store it."""

    tenant_id: int
    event_id: int
    conversation_id: str
    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


class ActionRow(NamedTuple):
    """The planned change of the conversation, or the reason why there is none."""

    event_id: int
    tenant_id: int
    conversation_id: str
    kind: str
    wait_for: str
    state: str
    reason: str
    emitted_at: datetime
    dry_run: bool


class TaskRow(NamedTuple):
    """A new task. `waits`: another task will make it due. `failed`: the code of a task that failed from the start."""

    tenant_id: int | None
    event_id: int
    kind: str
    waits: bool = False
    failed: str | None = None
    detail: str | None = None


def recipients_json(recipients: Sequence[RecipientRow]) -> str | None:
    """Return the recipients, in their order, as an event's row stores them."""
    return orjson.dumps([tuple(row) for row in recipients]).decode() if recipients else None


def columns(rows: Sequence[NamedTuple], row_class: type[NamedTuple]) -> list[Column[Any]]:
    """Return the rows as one column for each field, in the order of the class: the arguments of unnest()."""
    column_classes = _column_classes(row_class)
    if not rows:
        return [column() for column in column_classes]
    return [column(values) for column, values in zip(column_classes, zip(*rows, strict=True), strict=True)]


@cache
def _column_classes(row_class: type[NamedTuple]) -> list[type[Column[Any]]]:
    return [
        COLUMNS[declared.__forward_arg__.removesuffix(" | None")] for declared in row_class.__annotations__.values()
    ]
