"""Lists tasks, counts what a bulk change would touch, and names it in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg import sql
from psycopg.rows import class_row
from psycopg.sql import SQL

from shared.db.reading.event import AttemptRow, attempts_of_task
from shared.db.reading.filters import SHOWN_TASK_STATE, Filter, where

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


_OPEN = SQL("('ready', 'queued', 'running')")


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of undos so far, by conversation or tag; `stopped`: actions that were not applied any more.

    `skipped` and `failed` by cause; `open`: not known yet.
    """

    undone: int
    stopped: int
    open: int
    skipped: dict[str, int]
    failed: dict[str, int]


def standing_since(conn: Connection, tenant_id: int) -> datetime:
    """When the oldest undo was asked for that is still under way; now where there is none."""
    query = SQL("""
        SELECT coalesce(min(created_at), now()) FROM tasks
        WHERE tenant_id = %s AND kind = 'undo_action' AND state IN {}
    """).format(_OPEN)
    row = conn.execute(query, (tenant_id,)).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return row[0]  # type: ignore[no-any-return]


_COUNTS = SQL("""
WITH undos AS (
    SELECT t.state, t.code, (SELECT split_part(detail, ':', 1) FROM journal j
                             WHERE j.event_id = t.event_id AND j.what = 'undo skipped' ORDER BY id DESC LIMIT 1) AS why
    FROM tasks t WHERE t.tenant_id = %(tenant)s AND t.kind = 'undo_action' AND t.created_at >= %(since)s
), waiting AS (
    SELECT state, intent_at FROM actions WHERE tenant_id = %(tenant)s AND undo_asked_at >= %(since)s
)
SELECT CASE WHEN state IN {open} THEN 'open' WHEN state = 'done' THEN 'undone' ELSE state END,
       CASE state WHEN 'skipped' THEN why WHEN 'failed' THEN code END, count(*)
FROM undos WHERE state <> 'superseded' GROUP BY 1, 2
UNION ALL
SELECT CASE state WHEN 'planned' THEN 'open' ELSE 'stopped' END, NULL, count(*)
FROM waiting WHERE state IN ('planned', 'superseded') OR state = 'failed' AND intent_at IS NULL GROUP BY 1
""").format(open=_OPEN)


def outcome(conn: Connection, tenant_id: int, since: datetime) -> Outcome:
    """How far the undos are that were asked for since then."""
    rows = conn.execute(_COUNTS, {"tenant": tenant_id, "since": since}).fetchall()

    def of(state: str) -> dict[str, int]:
        return {cause or "": count for each, cause, count in rows if each == state}

    def number(state: str) -> int:
        return sum(count for each, _, count in rows if each == state)

    return Outcome(
        undone=number("undone"),
        stopped=number("stopped"),
        open=number("open"),
        skipped=of("skipped"),
        failed=of("failed"),
    )
