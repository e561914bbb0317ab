"""Reads all that is known of one event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from psycopg.rows import class_row

from shared.db.reading.filters import SHOWN_TASK_STATE

if TYPE_CHECKING:
    from shared.db.core.pool import Connection

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EventHeader:
    """The event itself, in its shown state."""

    number: int
    id: str
    company_id: str
    tenant: str | None
    type: str
    state: str
    cause: str | None
    conversation_id: str | None
    message_id: str | None
    emitted_at: datetime | None
    received_at: datetime
    recorded_at: datetime
    parked_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class DeliveryRow:
    """One delivery of the event."""

    id: UUID
    received_at: datetime
    origin: str


@dataclass(frozen=True, kw_only=True)
class RecipientRow:
    """A recipient and why it is a user, or is none."""

    handle: str
    role: str
    reason: str
    user_id: str | None
    user_name: str | None


@dataclass(frozen=True, kw_only=True)
class AttachmentRow:
    """A file and what became of it; `size` and `sha256` are of the stored bytes."""

    id: str
    filename: str
    state: str
    size: int | None
    sha256: str | None
    path: str | None
    stored_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class ActionRow:
    """What was, is or will be done to the conversation."""

    kind: str
    state: str
    reason: str
    intent_at: datetime | None
    settled_at: datetime | None
    dry_run: bool = False
    undone_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A piece of the event's work."""

    id: int
    kind: str
    state: str
    code: str | None
    detail: str | None
    attempts: int


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    """One run of a task, with the calls it made to Front."""

    task_id: int
    kind: str
    epoch: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    code: str | None
    detail: str | None
    calls: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class JournalRow:
    """A decision that no other row tells."""

    at: datetime
    what: str
    who: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class WholeEvent:
    """One event with everything about it."""

    header: EventHeader
    deliveries: list[DeliveryRow]
    recipients: list[RecipientRow]
    attachments: list[AttachmentRow]
    action: ActionRow | None
    tasks: list[TaskRow]
    attempts: list[AttemptRow]
    journal: list[JournalRow]


HEADER = """
    SELECT s.id AS number, s.front_id AS id, s.company_id, s.tenant, s.type, s.state, s.cause, s.conversation_id,
        s.message_id, s.emitted_at, s.received_at, s.recorded_at, t.parked_at
    FROM shown_events s LEFT JOIN tenants t ON t.id = s.tenant_id WHERE s.id = %s
"""
DELIVERIES = "SELECT id, received_at, origin FROM deliveries WHERE event_id = %s ORDER BY received_at, id"
RECIPIENTS = """
    SELECT r.handle, r.role, r.reason, u.external_id AS user_id, u.name AS user_name
    FROM recipients r LEFT JOIN users u ON u.tenant_id = r.tenant_id AND u.id = r.user_id
    WHERE r.event_id = %s ORDER BY r.position
"""
ATTACHMENTS = """
    SELECT front_id AS id, filename, state, size, sha256, path, stored_at
    FROM attachments a WHERE event_id = %s ORDER BY a.id
"""
ACTION = "SELECT kind, state, reason, intent_at, settled_at, dry_run, undone_at FROM actions WHERE event_id = %s"
TASK_COLUMNS = f"SELECT k.id, k.kind, {SHOWN_TASK_STATE} AS state, k.code, k.detail, k.attempts"
TASKS = "FROM tasks k LEFT JOIN tenants t ON t.id = k.tenant_id WHERE k.event_id = %s ORDER BY k.id"
ATTEMPTS = """
    SELECT a.task_id, k.kind, a.epoch, a.worker, a.started_at, a.ended_at, a.outcome, a.code, a.detail, a.calls
    FROM tasks k JOIN attempts a ON a.task_id = k.id
"""
ORDER = "ORDER BY a.started_at, a.task_id, a.epoch"
JOURNAL = "SELECT at, what, who, detail FROM journal WHERE event_id = %s ORDER BY id"


def whole(conn: Connection, number: int) -> WholeEvent | None:
    """All that is known of the event with this number of ours; call it inside a transaction for one point in time."""
    header = _rows(conn, EventHeader, HEADER, number)
    if not header:
        return None
    return WholeEvent(
        header=header[0],
        deliveries=_rows(conn, DeliveryRow, DELIVERIES, number),
        recipients=_rows(conn, RecipientRow, RECIPIENTS, number),
        attachments=_rows(conn, AttachmentRow, ATTACHMENTS, number),
        action=next(iter(_rows(conn, ActionRow, ACTION, number)), None),
        tasks=_rows(conn, TaskRow, f"{TASK_COLUMNS} {TASKS}", number),
        attempts=_rows(conn, AttemptRow, f"{ATTEMPTS} WHERE k.event_id = %s {ORDER}", number),
        journal=_rows(conn, JournalRow, JOURNAL, number),
    )


def attempts_of_task(conn: Connection, task_id: int) -> list[AttemptRow]:
    """The attempts of one task, the first one first."""
    return _rows(conn, AttemptRow, f"{ATTEMPTS} WHERE k.id = %s {ORDER}", task_id)


def _rows(conn: Connection, kind: type[T], query: str, number: int) -> list[T]:
    with conn.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(query.encode(), (number,)).fetchall()
