"""One task's way: claimed under a lease, settled by whoever still holds it.

Every write after the claim names the lease epoch it was claimed with. A worker that was paused beyond its lease finds
no row, gets `Fenced`, and writes nothing.
"""

from __future__ import annotations

from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from shared.db.pool import Connection
from shared.errors import Fenced
from shared.models import Call, Task

# Nothing stands against the task, or it is the one that finds out whether that is over.
_FREE = SQL("""
(tenants.not_before <= now()
 AND (tenants.parked_cause IS NULL
      OR (tenants.parked_cause = 'missing_scope' AND tenants.probe_task_id IS NOT DISTINCT FROM tasks.id))
 AND NOT EXISTS (SELECT FROM outages WHERE (what = 'front' OR tasks.kind = 'store_attachment')
                 AND probe_task_id IS DISTINCT FROM tasks.id))
""")
_CLAIM = SQL("""
UPDATE tasks SET state = 'running', lease_epoch = lease_epoch + 1, attempts = attempts + 1, sends = 0,
       lease_until = now() + make_interval(secs => %(lease)s)
FROM tenants
WHERE tasks.id = %(id)s AND tasks.state IN ('ready', 'queued') AND tasks.due_at <= now()
  AND tenants.id = tasks.tenant_id AND {free}
RETURNING tasks.id, kind, event_id, tenant_id, attachment_id, lease_epoch, attempts,
          ARRAY(SELECT what FROM outages WHERE what = 'front' OR kind = 'store_attachment' ORDER BY what)
          || array_remove(ARRAY[tenants.parked_cause], NULL) AS probes
""").format(free=_FREE)
_HAND_BACK = SQL("""
UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 FROM tenants
WHERE tasks.id = %s AND tasks.state = 'queued' AND tenants.id = tasks.tenant_id AND NOT {free}
""").format(free=_FREE)


def claim(conn: Connection, task_id: int, worker: str, *, lease_seconds: float) -> Task | None:
    """Take the task when it is due and nothing stands against it; this counts as an attempt.

    A message that outran its tenant's trouble or an outage hands the task back: it is dispatched when that is over.
    """
    with conn.cursor(row_factory=class_row(Task)) as cur:
        task = cur.execute(_CLAIM, {"id": task_id, "lease": lease_seconds}).fetchone()
    if task is None:
        conn.execute(_HAND_BACK, (task_id,))
        return None
    conn.execute(
        "INSERT INTO attempts (task_id, epoch, worker) VALUES (%s, %s, %s)", (task.id, task.lease_epoch, worker)
    )
    return task


def renew(conn: Connection, task: Task, *, lease_seconds: float) -> None:
    """Extend the lease of an attempt that makes progress. Raises Fenced when it is lost, or its tenant is erased."""
    _held(
        conn.execute(
            "UPDATE tasks SET lease_until = now() + make_interval(secs => %s)"
            " WHERE id = %s AND lease_epoch = %s AND state = 'running'"
            " AND NOT EXISTS (SELECT FROM tenants WHERE tenants.id = tasks.tenant_id AND parked_cause = 'erasing')",
            (lease_seconds, task.id, task.lease_epoch),
        ).rowcount
    )


def let_go(conn: Connection, task: Task) -> None:
    """A fenced attempt is over: where nobody else has the task, nobody needs to wait for its lease."""
    conn.execute(
        "UPDATE tasks SET lease_until = now() WHERE id = %s AND lease_epoch = %s AND state = 'running'",
        (task.id, task.lease_epoch),
    )


def check_held(conn: Connection, task: Task) -> None:
    """Raise Fenced unless this attempt holds the task; the row stays locked until the transaction ends."""
    _held(
        conn.execute(
            "SELECT 1 FROM tasks WHERE id = %s AND lease_epoch = %s AND state = 'running' FOR UPDATE",
            (task.id, task.lease_epoch),
        ).rowcount
    )


def finish(conn: Connection, task: Task, state: str, *, code: str | None = None, detail: str | None = None) -> None:
    """End the task. Raises Fenced when this attempt no longer holds it."""
    _held(
        conn.execute(
            """
            UPDATE tasks SET state = %s, code = %s, detail = %s, lease_until = NULL, settled_at = now()
            WHERE id = %s AND lease_epoch = %s AND state = 'running'
            """,
            (state, code, detail, task.id, task.lease_epoch),
        ).rowcount
    )


def put_back(  # noqa: PLR0913 -- where the task stands after the attempt, each part named at the call
    conn: Connection,
    task: Task,
    *,
    seconds: float | None,
    counts: bool,
    code: str | None = None,
    detail: str | None = None,
) -> None:
    """Make the task due in `seconds` (None: when another task releases it). `counts`: this was an attempt.

    Raises Fenced when this attempt no longer holds it.
    """
    _held(
        conn.execute(
            """
            UPDATE tasks SET state = 'ready', lease_until = NULL, code = %(code)s, detail = %(detail)s,
                   attempts = attempts - CASE WHEN %(counts)s THEN 0 ELSE 1 END,
                   due_at = CASE WHEN %(seconds)s::float8 IS NULL THEN 'infinity'
                                 ELSE now() + make_interval(secs => %(seconds)s) END
            WHERE id = %(id)s AND lease_epoch = %(epoch)s AND state = 'running'
            """,
            {
                "id": task.id,
                "epoch": task.lease_epoch,
                "seconds": seconds,
                "counts": counts,
                "code": code,
                "detail": detail,
            },
        ).rowcount
    )


def end_attempt(  # noqa: PLR0913 -- one row's columns
    conn: Connection, task: Task, *, outcome: str, code: str | None, detail: str | None, calls: list[Call]
) -> None:
    """Write how the attempt ended and what it asked of Front."""
    conn.execute(
        """
        UPDATE attempts SET ended_at = clock_timestamp(), outcome = %s, code = %s, detail = %s, calls = %s
        WHERE task_id = %s AND epoch = %s
        """,
        (outcome, code, detail, Jsonb([_call(call) for call in calls]), task.id, task.lease_epoch),
    )


def _call(call: Call) -> dict[str, object]:
    return {
        "method": call.method,
        "path": call.path,
        "status": call.status,
        "ms": call.milliseconds,
        "budget_left": call.budget_left,
    }


def _held(rows: int) -> None:
    if rows != 1:
        raise Fenced("another attempt owns this task now; this one writes nothing")
