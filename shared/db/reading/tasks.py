"""Tasks as people see them: lists, one task with its attempts, groups for a bulk change, and the progress of undos."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from psycopg.rows import class_row
from psycopg.sql import SQL, Composable

from shared.db.reading import attempts
from shared.db.reading.attempts import AttemptView
from shared.db.reading.events import ActionView, action_of
from shared.db.reading.filters import (
    FREQUENT_KINDS,
    FREQUENT_TYPES,
    MANY_EVENTS,
    OF_CONVERSATION,
    PARKED_TENANTS,
    RARE_KIND,
    SHOWN_TASK_STATE,
    Filter,
    highest_id,
    lowest_id,
    of_type,
    where,
)
from shared.models import MOST_COUNTED

if TYPE_CHECKING:
    from shared.db.core.pool import Connection


@dataclass(frozen=True, kw_only=True)
class TaskSummary:
    """A task as a list shows it; `event` is Front's id, `event_number` ours: a notification may be about none.

    `due_at` is None while it waits for another task.
    """

    id: int
    kind: str
    state: str
    code: str | None
    detail: str | None
    attempts: int
    tenant_id: int | None
    tenant: str | None
    event: str
    event_number: int | None
    endpoint_id: int | None
    failure_group_id: int | None
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class TaskDetails:
    """A task with its attempts, the first one first. `action` is the action that it applies, if it applies one.

    `delivery` is the id of its event's first delivery, which is in every line of the log about the task.
    """

    task: TaskSummary
    attempts: list[AttemptView]
    action: ActionView | None = None
    delivery: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskGroup:
    """The number of tasks with the same tenant, kind, state and code."""

    tenant: str | None
    kind: str
    state: str
    code: str | None
    count: int


@dataclass(frozen=True, kw_only=True)
class UndoProgress:
    """The results of undos so far, counted by conversation or tag.

    `stopped`: actions that ended before they were applied. `skipped` and `failed` are counted by cause. `open`: the
    result is not known yet.
    """

    undone: int
    stopped: int
    open: int
    skipped: dict[str, int]
    failed: dict[str, int]


SOURCE = "FROM tasks k LEFT JOIN events e ON e.id = k.event_id LEFT JOIN tenants t ON t.id = k.tenant_id "
COLUMNS = (
    f"SELECT k.id, k.kind, {SHOWN_TASK_STATE} AS state, k.code, k.detail, k.attempts, k.tenant_id, t.name AS tenant, "
    "coalesce(e.front_id, '') AS event, e.id AS event_number, k.endpoint_id, k.failure_group_id, "
    "nullif(k.due_at, 'infinity') AS due_at, "
    "k.created_at, k.settled_at "
)
# Each condition is written for an index: see those of `tasks` in schema.sql.
_WAITING = (
    "(k.state = 'ready' AND k.kind = 'store_attachment' AND {0}"
    " OR k.state = 'ready' AND k.kind NOT IN ('store_attachment', 'notify') AND {0}"
)
_WAITING += " OR k.state IN ('queued', 'running') AND k.state = 'queued' AND {0})"
STATES = {
    **{state: f"k.state = '{state}'" for state in ("failed", "done")},
    **{
        state: f"k.state = '{state}' AND k.state IN ('discarded', 'skipped', 'superseded')"
        for state in ("discarded", "skipped", "superseded")
    },
    "ready": f"k.state = 'ready' AND k.tenant_id <> ALL({PARKED_TENANTS})",
    "queued": f"k.state IN ('queued', 'running') AND k.state = 'queued' AND k.tenant_id <> ALL({PARKED_TENANTS})",
    "running": "k.state IN ('queued', 'running') AND k.state = 'running'",
    "parked": _WAITING.format(f"k.tenant_id = ANY({PARKED_TENANTS})"),
}
#: The stored states from which somebody may change a task.
CHANGEABLE = {
    "failed": "k.state = 'failed'",
    "ready": "k.state = 'ready' AND k.kind = 'store_attachment' OR k.state = 'ready' AND k.kind = 'notify'"
    " OR k.state = 'ready' AND k.kind NOT IN ('store_attachment', 'notify')",
    "queued": "k.state IN ('queued', 'running') AND k.state = 'queued'",
    # Of notifications alone, which are found by their endpoint.
    "done": "k.state = 'done' AND k.kind = 'notify'",
    "discarded": "k.state = 'discarded' AND k.kind = 'notify'",
}
CONDITIONS = {
    "tenant_id": "k.tenant_id = %(tenant_id)s",
    "code": "k.code = %(code)s",
    "endpoint": "k.endpoint_id = %(endpoint)s",
    "group": "k.failure_group_id = %(group)s AND k.state = 'failed'",
    "job": "k.id IN (SELECT i.task_id FROM job_items i WHERE i.job_id = %(job)s)",
    "since": "k.created_at >= %(since)s",
    "until": "k.created_at < %(until)s",
    "conversation_id": OF_CONVERSATION,
    "before_id": "k.id < %(before_id)s",
    "ids": "k.id = ANY(%(ids)s)",
}

_OPEN = SQL("('ready', 'queued', 'running')")
_UNDO_COUNTS = SQL("""
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


def latest(conn: Connection, wanted: Filter, *, limit: int) -> list[TaskSummary]:
    """Return the latest tasks that match the filter, latest first."""
    conditions = _conditions(conn, wanted)
    if wanted.tenant_id and wanted.state != "failed" and _has_few_events(conn, wanted.tenant_id):
        conditions["tenant_id"] = "k.tenant_id = %(tenant_id)s AND k.event_id = ANY(ARRAY("
        conditions["tenant_id"] += "SELECT id FROM events WHERE tenant_id = %(tenant_id)s))"
    query = SQL(COLUMNS + SOURCE) + where(wanted, conditions) + SQL(" ORDER BY k.id DESC LIMIT %(limit)s")
    with conn.cursor(row_factory=class_row(TaskSummary)) as cursor:
        return cursor.execute(query, {**wanted.values(), "limit": limit}).fetchall()


def task_details(conn: Connection, task_id: int) -> TaskDetails | None:
    """Return a task and its attempts, or None. Call it inside a transaction, so that both are of one moment."""
    found = latest(conn, Filter(ids=(task_id,)), limit=1)
    if not found:
        return None
    task, number = found[0], found[0].event_number
    return TaskDetails(
        task=task,
        attempts=attempts.of_task(conn, task_id),
        action=action_of(conn, number) if number and task.kind == "apply_action" else None,
        delivery=_first_delivery(conn, number) if number else None,
    )


def count_groups(conn: Connection, wanted: Filter, states: tuple[str, ...]) -> list[TaskGroup]:
    """Count the tasks that match the filter and are in one of these states, by tenant, kind, state and code."""
    columns = f"SELECT t.name AS tenant, k.kind, {SHOWN_TASK_STATE} AS state, k.code, count(*) AS count "
    query = SQL(columns + SOURCE) + _in_states(conn, wanted, states) + SQL(" GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC")
    with conn.cursor(row_factory=class_row(TaskGroup)) as cursor:
        return cursor.execute(query, wanted.values()).fetchall()


def count_in_states(conn: Connection, wanted: Filter, states: tuple[str, ...]) -> int:
    """Count the tasks that match the filter and are in one of these states, up to one more than MOST_COUNTED."""
    query = SQL("SELECT count(*) FROM (SELECT {} LIMIT %(most)s) counted").format(matching(conn, wanted, states))
    row = conn.execute(query, {**wanted.values(), "most": MOST_COUNTED + 1}).fetchone()
    return int(row[0]) if row else 0


def matching(conn: Connection, wanted: Filter, states: tuple[str, ...]) -> Composable:
    """Return FROM and WHERE of the tasks, `k`, that match the filter and are in one of these states of CHANGEABLE.

    The query takes the values of the filter.
    """
    return SQL(SOURCE) + _in_states(conn, wanted, states)


def oldest_open_undo(conn: Connection, tenant_id: int) -> datetime:
    """Return when the oldest open undo was asked for; now when none is open."""
    query = SQL("""
        SELECT coalesce(min(created_at), now()) FROM tasks
        WHERE tenant_id = %s AND kind = 'undo_action' AND state IN {}
    """).format(_OPEN)
    row = conn.execute(query, (tenant_id,)).fetchone()
    assert row is not None  # noqa: S101 -- an aggregate gives one row
    return row[0]  # type: ignore[no-any-return]


def undo_progress(conn: Connection, tenant_id: int, since: datetime) -> UndoProgress:
    """Count the results of the undos that were asked for since then."""
    rows = conn.execute(_UNDO_COUNTS, {"tenant": tenant_id, "since": since}).fetchall()

    def by_cause(state: str) -> dict[str, int]:
        return {cause or "": count for row_state, cause, count in rows if row_state == state}

    def total(state: str) -> int:
        return sum(count for row_state, _, count in rows if row_state == state)

    return UndoProgress(
        undone=total("undone"),
        stopped=total("stopped"),
        open=total("open"),
        skipped=by_cause("skipped"),
        failed=by_cause("failed"),
    )


def _in_states(conn: Connection, wanted: Filter, states: tuple[str, ...]) -> Composable:
    narrowed = where(wanted, _conditions(conn, wanted))
    joint = " AND " if narrowed.as_string() else "WHERE "
    return narrowed + SQL(f"{joint}({' OR '.join(CHANGEABLE[state] for state in states)})")


def _has_few_events(conn: Connection, tenant_id: int) -> bool:
    """Whether the tasks of a tenant are found by its events; those of others are among the newest tasks of all."""
    row = conn.execute(
        "SELECT count(*) FROM (SELECT FROM events WHERE tenant_id = %s LIMIT %s) counted", (tenant_id, MANY_EVENTS)
    ).fetchone()
    return row is not None and row[0] < MANY_EVENTS


def _conditions(conn: Connection, wanted: Filter) -> dict[str, str]:
    kind = "k.kind = %(kind)s" if wanted.kind in FREQUENT_KINDS else RARE_KIND
    conditions = CONDITIONS | {"state": STATES.get(wanted.state or "", "false"), "kind": kind}
    conditions["type"] = of_type(wanted.type)
    if wanted.type not in FREQUENT_TYPES:
        conditions["type"] = f"k.event_id = ANY(ARRAY(SELECT e.id FROM events e WHERE {of_type(wanted.type)}))"  # noqa: S608 -- text of ours
    if wanted.since:
        conditions["since"] += f" AND k.id >= {lowest_id(conn, 'tasks', 'created_at', wanted.since)}"
    if wanted.until:
        conditions["until"] += f" AND k.id <= {highest_id(conn, 'tasks', 'created_at', wanted.until)}"
    return conditions


def _first_delivery(conn: Connection, number: int) -> str | None:
    """Return the id of the event's first delivery, as the log has it."""
    row = conn.execute(
        "SELECT id FROM deliveries WHERE event_id = %s ORDER BY received_at, id LIMIT 1", (number,)
    ).fetchone()
    return row[0].hex if row else None
