"""Lists tasks, counts what a bulk change would touch, and names it in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row

from shared.db.reading.event import AttemptRow, attempts_of_task
from shared.db.reading.filters import SHOWN_TASK_STATE, Filter, where

if TYPE_CHECKING:
    from shared.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class ListedTask:
    """A task as a list shows it; `event` is Front's id, `due_at` None while it waits for another task."""

    id: int
    kind: str
    state: str
    code: str | None
    detail: str | None
    attempts: int
    tenant: str | None
    event: str
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class WholeTask:
    """A task with its attempts, the first one first."""

    task: ListedTask
    attempts: list[AttemptRow]


@dataclass(frozen=True, kw_only=True)
class TaskGroup:
    """How many tasks of a bulk change look alike."""

    tenant: str | None
    kind: str
    state: str
    code: str | None
    count: int


SOURCE = "FROM tasks k JOIN events e ON e.id = k.event_id LEFT JOIN tenants t ON t.id = k.tenant_id "
LISTED = (
    f"SELECT k.id, k.kind, {SHOWN_TASK_STATE} AS state, k.code, k.detail, k.attempts, t.name AS tenant, "
    "e.front_id AS event, nullif(k.due_at, 'infinity') AS due_at, k.created_at, k.settled_at "
)
CONDITIONS = {
    "tenant_id": "k.tenant_id = %(tenant_id)s",
    "state": f"{SHOWN_TASK_STATE} = %(state)s",
    "code": "k.code = %(code)s",
    "kind": "k.kind = %(kind)s",
    "since": "k.created_at >= %(since)s",
    "ids": "k.id = ANY(%(ids)s)",
}


def newest(conn: Connection, wanted: Filter, *, limit: int) -> list[ListedTask]:
    """The newest tasks that fit, newest first."""
    query = sql.SQL(LISTED + SOURCE) + where(wanted, CONDITIONS) + sql.SQL(" ORDER BY k.id DESC LIMIT %(limit)s")
    with conn.cursor(row_factory=class_row(ListedTask)) as cursor:
        return cursor.execute(query, {**wanted.values(), "limit": limit}).fetchall()


def one(conn: Connection, task_id: int) -> WholeTask | None:
    """A task and its attempts; call it inside a transaction for one point in time."""
    found = newest(conn, Filter(ids=(task_id,)), limit=1)
    return WholeTask(task=found[0], attempts=attempts_of_task(conn, task_id)) if found else None


def groups(conn: Connection, wanted: Filter, states: tuple[str, ...]) -> list[TaskGroup]:
    """The tasks that fit and are in one of these states, counted by tenant, kind, state and code."""
    columns = f"SELECT t.name AS tenant, k.kind, {SHOWN_TASK_STATE} AS state, k.code, count(*) AS count "
    query = sql.SQL(columns + SOURCE) + _in_states(wanted) + sql.SQL(" GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC")
    with conn.cursor(row_factory=class_row(TaskGroup)) as cursor:
        return cursor.execute(query, {**wanted.values(), "states": list(states)}).fetchall()


def batches(conn: Connection, wanted: Filter, states: tuple[str, ...], *, size: int) -> Iterator[list[int]]:
    """The ids of those tasks, in order, a batch at a time; each batch is looked up when it is asked for."""
    after = 0
    query = sql.SQL("SELECT k.id " + SOURCE) + _in_states(wanted)
    query += sql.SQL(" AND k.id > %(after)s ORDER BY k.id LIMIT %(size)s")
    while True:
        values = {**wanted.values(), "states": list(states), "after": after, "size": size}
        batch = [number for (number,) in conn.execute(query, values)]
        if not batch:
            return
        yield batch
        after = batch[-1]


def _in_states(wanted: Filter) -> sql.Composable:
    narrowed = where(wanted, CONDITIONS)
    joint = " AND " if narrowed.as_string() else "WHERE "
    return narrowed + sql.SQL(joint + "k.state = ANY(%(states)s)")
