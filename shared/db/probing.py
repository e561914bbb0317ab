"""Which single task may find out whether something is over: an outage for everybody, or a missing permission."""

from __future__ import annotations

from shared.db.dispatching import RESEND_SECONDS, queue_one
from shared.db.pool import Connection


def queue_probe(conn: Connection, *, every_seconds: float) -> list[int]:
    """Queue a task that asks whether what is away is back, when it is time to; its id.

    While Front is away no file can be stored either: then the one task asks for both.
    """
    away: dict[str, bool] = dict(conn.execute("SELECT what, probe_at <= now() FROM outages FOR UPDATE").fetchall())
    if not away.get("front", away.get("storage")):
        return []
    task_id = queue_one(conn, files_only="front" not in away)
    if task_id is None:
        return []
    conn.execute(
        "UPDATE outages SET probe_task_id = %s, probe_at = now() + make_interval(secs => %s)", (task_id, every_seconds)
    )
    return [task_id]


def queue_scope_probes(conn: Connection, *, again_seconds: float, limit: int = 50) -> list[int]:
    """Queue one task of each tenant whose permission may have been added by now, best one that was refused; their ids.

    One that neither goes through nor is refused says nothing: another follows after `again_seconds`.
    """
    rows = conn.execute(
        """
        WITH asking AS (
            SELECT id FROM tenants WHERE parked_cause = 'missing_scope' AND probe_at <= now() AND not_before <= now()
              AND NOT EXISTS (SELECT FROM outages WHERE what = 'front')
            LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
        ), picked AS (
            SELECT asking.id AS tenant_id, due.id FROM asking CROSS JOIN LATERAL (
                SELECT id FROM tasks WHERE tenant_id = asking.id AND state = 'ready' AND due_at <= now()
                ORDER BY code IS DISTINCT FROM 'missing_scope', due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
            ) due
        ), named AS (
            UPDATE tenants SET probe_task_id = picked.id, probe_at = now() + make_interval(secs => %(again)s)
            FROM picked WHERE tenants.id = picked.tenant_id
        )
        UPDATE tasks SET state = 'queued', lease_until = now() + make_interval(secs => %(resend)s)
        FROM picked WHERE tasks.id = picked.id RETURNING tasks.id
        """,
        {"limit": limit, "again": again_seconds, "resend": RESEND_SECONDS},
    )
    return [task_id for (task_id,) in rows]
