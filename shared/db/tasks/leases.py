"""The lease of a task: claimed by a worker, renewed, and ended by the attempt that still owns it.

Every write after the claim names the lease epoch of the claim. A worker that was paused for longer than its lease finds
no row, gets `Fenced`, and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL

from shared.db.core.pool import Connection
from shared.db.tasks.capacity import LIVE
from shared.errors import Fenced
from shared.models import Grant, Task

# No cause and no outage holds the task back, or this task probes whether that is over.
_FREE = SQL("""
(tenants.not_before <= now() AND (tenants.backlog_not_before <= now() OR {live})
 AND (tenants.parked_cause IS NULL
      OR (tenants.parked_cause = 'missing_scope' AND tenants.probe_task_id IS NOT DISTINCT FROM tasks.id))
 AND NOT EXISTS (SELECT FROM outages WHERE (what = 'front' OR tasks.kind = 'store_attachment')
                 AND probe_task_id IS DISTINCT FROM tasks.id))
""").format(live=LIVE)
# The commit does not wait for the disk where a task only reads and stores. A power cut that loses such a claim lets
# another attempt claim the same epoch, and do the same again. A change at Front must not have two attempts of an epoch.
_CLAIM = (
    SQL("""
WITH claimed AS (
    UPDATE tasks SET state = 'running', lease_epoch = lease_epoch + 1, attempts = attempts + 1, sends = 0,
           lease_until = now() + make_interval(secs => %(lease)s)
    FROM tenants
    WHERE tasks.id = %(id)s AND tasks.state IN ('ready', 'queued') AND tasks.due_at <= now()
      AND tenants.id = tasks.tenant_id AND {free}
    RETURNING tasks.id, kind, event_id, tenant_id, attachment_id, lease_epoch, attempts,
              ARRAY(SELECT what FROM outages WHERE what = 'front' OR kind = 'store_attachment' ORDER BY what)
              || array_remove(ARRAY[tenants.parked_cause], NULL) AS probes, {live} AS is_live
), begun AS (
    INSERT INTO attempts (task_id, epoch, worker, version)
    SELECT id, lease_epoch, %(worker)s, %(version)s FROM claimed
)
SELECT claimed.id, claimed.kind, claimed.event_id, claimed.tenant_id, claimed.attachment_id, lease_epoch, attempts,
       probes, is_live, coalesce(events.conversation_id, '') AS conversation_id,
       coalesce((SELECT replace(d.id::text, '-', '') FROM deliveries d WHERE d.event_id = events.id
                 ORDER BY d.received_at LIMIT 1), '') AS delivery_id,
       t.company_id, c.kind AS grant_kind, c.secret, c.version, c.expires_at, c.updated_at
FROM claimed JOIN events ON events.id = claimed.event_id JOIN tenants t ON t.id = claimed.tenant_id
LEFT JOIN connections c ON c.tenant_id = claimed.tenant_id
WHERE CASE WHEN claimed.kind IN ('apply_action', 'undo_action') THEN true
      ELSE set_config('synchronous_commit', 'off', true) IS NOT NULL END
""")
    .format(free=_FREE, live=LIVE)
    .as_bytes()
)
_HAND_BACK = (
    SQL("""
UPDATE tasks SET state = 'ready', lease_until = NULL, sends = 0 FROM tenants
WHERE tasks.id = %s AND tasks.state = 'queued' AND tenants.id = tasks.tenant_id AND NOT {free}
""")
    .format(free=_FREE)
    .as_bytes()
)
# The columns of a claimed row, in its order: first the fields of Task, then those of Grant.
_TASK_FIELDS = (
    "id",
    "kind",
    "event_id",
    "tenant_id",
    "attachment_id",
    "lease_epoch",
    "attempts",
    "probes",
    "is_live",
    "conversation_id",
    "delivery_id",
)
_GRANT_FIELDS = ("company_id", "kind", "secret", "version", "expires_at", "updated_at")


@dataclass(frozen=True, kw_only=True)
class ClaimedTask:
    """A task that was just claimed, and its tenant's grant at that moment."""

    task: Task
    grant: Grant | None


def claim(
    conn: Connection, task_id: int, worker: str, *, lease_seconds: float, version: str = ""
) -> ClaimedTask | None:
    """Claim the task for a new attempt, if it is due and nothing holds it back. Needs no transaction.

    The attempt keeps the names of its `worker` and of the `version` of Mailroom.

    A task that was sent before its tenant was parked or an outage began is not queued any more: it is dispatched
    again when that is over.
    """
    row = conn.execute(_CLAIM, {"id": task_id, "lease": lease_seconds, "worker": worker, "version": version}).fetchone()
    if row is None:
        conn.execute(_HAND_BACK, (task_id,))
        return None
    task = Task(**dict(zip(_TASK_FIELDS, row, strict=False)))
    return ClaimedTask(task=task, grant=_grant(task.tenant_id, row[len(_TASK_FIELDS) :]))


def renew(conn: Connection, task: Task, *, lease_seconds: float) -> None:
    """Extend the lease of the attempt. Raises Fenced when the lease is lost or the tenant is being erased."""
    renewed = conn.execute(
        "UPDATE tasks SET lease_until = now() + make_interval(secs => %s)"
        " WHERE id = %s AND lease_epoch = %s AND state = 'running'"
        " AND NOT EXISTS (SELECT FROM tenants WHERE tenants.id = tasks.tenant_id AND parked_cause = 'erasing')",
        (lease_seconds, task.id, task.lease_epoch),
    )
    check_owned(renewed.rowcount == 1)


def release(conn: Connection, task: Task) -> None:
    """End the lease of a fenced attempt that still owns the task, so that nobody waits for it to expire."""
    conn.execute(
        "UPDATE tasks SET lease_until = now() WHERE id = %s AND lease_epoch = %s AND state = 'running'",
        (task.id, task.lease_epoch),
    )


def lock(conn: Connection, task: Task) -> None:
    """Lock the task, and its conversation like `lock_conversation`, until the transaction ends.

    Raises Fenced unless this attempt owns the task.
    """
    row = conn.execute(
        "SELECT lock_task(%s, %s, %s, %s)", (task.tenant_id, task.conversation_id, task.id, task.lease_epoch)
    ).fetchone()
    check_owned(row and row[0])


def finish(conn: Connection, task: Task, state: str, *, code: str | None = None, detail: str | None = None) -> None:
    """End the task. Raises Fenced when this attempt no longer owns it."""
    row = conn.execute(
        "SELECT end_task(%s, %s, %s, %s, %s)", (task.id, task.lease_epoch, state, code, detail)
    ).fetchone()
    check_owned(row and row[0])


def put_back(  # noqa: PLR0913 -- the columns of a task after an attempt, each named at the call
    conn: Connection,
    task: Task,
    *,
    seconds: float | None,
    counts: bool,
    code: str | None = None,
    detail: str | None = None,
) -> None:
    """Make the task due in `seconds`; None: when another task releases it. `counts`: whether this was an attempt.

    Raises Fenced when this attempt no longer owns the task.
    """
    updated = conn.execute(
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
    )
    check_owned(updated.rowcount == 1)


def put_back_in_place(conn: Connection, task: Task, *, code: str, detail: str) -> None:
    """Put the task back due as it was, before all newer work, while its tenant's work is held back. It was no attempt.

    Raises Fenced when this attempt no longer owns the task.
    """
    updated = conn.execute(
        "UPDATE tasks SET state = 'ready', lease_until = NULL, code = %s, detail = %s, attempts = attempts - 1"
        " WHERE id = %s AND lease_epoch = %s AND state = 'running'",
        (code, detail, task.id, task.lease_epoch),
    )
    check_owned(updated.rowcount == 1)


def rest(conn: Connection, task: Task, seconds: float) -> None:
    """Put the task back in its place as if it had not been claimed, and let its tenant's like work rest so long.

    Needs no transaction. Raises Fenced when this attempt no longer owns the task.
    """
    row = conn.execute(
        "SELECT rest_task(%s, %s, %s, %s, %s)", (task.id, task.lease_epoch, task.tenant_id, task.is_live, seconds)
    ).fetchone()
    check_owned(row and row[0])


def check_owned(held: object) -> None:
    """Raise Fenced unless the attempt owns its task."""
    if not held:
        raise Fenced("another attempt owns this task now; this one writes nothing")


def _grant(tenant_id: int, columns: tuple[Any, ...]) -> Grant | None:
    """Return the grant of these columns, which are null when the tenant has none."""
    grant = dict(zip(_GRANT_FIELDS, columns, strict=True))
    return Grant(tenant_id=tenant_id, **grant) if grant["kind"] else None
