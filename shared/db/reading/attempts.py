"""Attempts as people see them: those of one task, or of all tasks of an event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from psycopg.rows import class_row

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """One run of a task, with the calls it made to Front.

    `version` is that of Mailroom, empty where the worker ran from a folder.
    """

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
    version: str = ""


_ATTEMPTS = b"""
    SELECT a.task_id, k.kind, a.epoch, a.worker, a.started_at, a.ended_at, a.outcome, a.code, a.detail, a.calls,
        a.version
    FROM tasks k JOIN attempts a ON a.task_id = k.id
    WHERE k.event_id = %(event)s OR k.id = %(task)s
    ORDER BY a.started_at, a.task_id, a.epoch
"""


def of_event(conn: Connection, number: int) -> list[AttemptView]:
    """Return the attempts at the event's tasks, the first one first."""
    return _attempts(conn, event=number)


def of_task(conn: Connection, task_id: int) -> list[AttemptView]:
    """Return the attempts at one task, the first one first."""
    return _attempts(conn, task=task_id)


def _attempts(conn: Connection, *, event: int | None = None, task: int | None = None) -> list[AttemptView]:
    with conn.cursor(row_factory=class_row(AttemptView)) as cursor:
        return cursor.execute(_ATTEMPTS, {"event": event, "task": task}).fetchall()
