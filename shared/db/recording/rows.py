"""The rows the recorder writes, column by column.

Named tuples: a frozen dataclass takes several times longer to make, and there are about ten of these to an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

import orjson

from shared.db.core.arrays import Bigints, Bodies, Booleans, Column, Ids, Texts, Times

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
    recipients: str | None  # see as_json


class DeliveryRow(NamedTuple):
    """A delivery of an event; `body` is compressed, None where an earlier delivery holds it."""

    id: DeliveryId
    event_id: int
    received_at: datetime
    origin: str
    body: bytes | None


class RecipientRow(NamedTuple):
    """A recipient of an event, matched or not: a part of the event's row."""

    handle: str
    role: str
    user_id: int | None
    reason: str


class AttachmentRow(NamedTuple):
    """A file that is to be stored, by a task of its own."""

    tenant_id: int
    event_id: int
    conversation_id: str
    front_id: str
    filename: str
    content_type: str
    declared_size: int | None
    is_inline: bool


class ActionRow(NamedTuple):
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


class TaskRow(NamedTuple):
    """A new task; `waits`: due when another task releases it; `failed`: the code of one that is born failed."""

    tenant_id: int | None
    event_id: int
    kind: str
    waits: bool = False
    failed: str | None = None
    detail: str | None = None


def as_json(recipients: Sequence[RecipientRow]) -> str | None:
    """An event's recipients, in their order, as its row has them."""
    return orjson.dumps([tuple(row) for row in recipients]).decode() if recipients else None


def columns(rows: Sequence[NamedTuple], kind: type[NamedTuple]) -> list[Column[Any]]:
    """The rows turned into a column for each field, in the order of the class: what unnest() takes."""
    kinds = _kinds(kind)
    if not rows:
        return [column() for column in kinds]
    return [column(values) for column, values in zip(kinds, zip(*rows, strict=True), strict=True)]


@cache
def _kinds(kind: type[NamedTuple]) -> list[type[Column[Any]]]:
    return [COLUMNS[declared.__forward_arg__.removesuffix(" | None")] for declared in kind.__annotations__.values()]
